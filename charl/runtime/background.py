"""One thread that does jobs by priority; it outlives forks and ends before the interpreter.

submit(task) -> Job       from any thread: the thread starts with the first job
inbox.put(x)              from anywhere, destructors included: handle(x) on the thread
fork                      a child starts a thread of its own, and does what was pending
exit                      the job at hand is finished, the rest is dropped
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable


class Job:
    """A task on its way. `error` is final once `wait` has returned True."""

    __slots__ = ("_finished", "_worker", "cancelled", "error", "number", "priority", "task")

    def __init__(self, worker: Worker, task: Callable[[], None], priority: float, number: int):
        self._worker, self.task, self.priority, self.number = worker, task, priority, number
        self.error: BaseException | None = None
        self.cancelled = False
        self._finished = threading.Event()

    def cancel(self) -> None:
        """Nobody wants it any more; it is left out if it has not been begun."""
        self.cancelled = True
        self.task = _nothing

    def hurry(self) -> None:
        """Somebody waits for it: it goes ahead of all others."""
        self.priority = float("-inf")
        self._worker.inbox.put(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the task is done, or has failed. Returns False on a timeout of seconds."""
        if not self._finished.is_set():
            self._worker.inbox.put(self)  # again: its submit may have been interrupted
            self._worker.start()
        return self._finished.wait(timeout)

    @property
    def finished(self) -> bool:
        return self._finished.is_set()

    def finish(self, error: BaseException | None) -> None:
        self.error = error
        self._finished.set()
        self.task = _nothing

    def renew(self) -> None:
        """In a forked child: a thread of the parent may hold the event's lock."""
        self._finished = threading.Event()


def _nothing() -> None:
    pass


class Worker:
    """The thread and its queue. failed(error) is called on it for each job that raises."""

    def __init__(self, name: str, handle: Callable[[object], None], failed: Callable):
        self.name, self.handle, self.failed = name, handle, failed
        self.stopped = False
        self._numbers = itertools.count()
        self._reset()

    def _reset(self) -> None:
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self._pending: dict[int, Job] = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit(self, task: Callable[[], None], priority: float = 0) -> Job:
        """Queues a task; lower priorities first."""
        job = Job(self, task, priority, next(self._numbers))
        self._pending[job.number] = job
        self.start()  # first: a new thread that finds a job keeps the GIL for a while
        self.inbox.put(job)
        return job

    def start(self) -> None:
        """Starts the thread if it does not run. Where none can be started, all jobs fail."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            try:
                if self.stopped:
                    raise RuntimeError("the interpreter is shutting down")
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            except RuntimeError as error:
                self._thread = None
                for job in self.pending():
                    self._finish(job, error)

    def pending(self) -> list[Job]:
        """Jobs that are queued or under way."""
        return [job for job in list(self._pending.values()) if not job.finished]

    def drain(self, timeout: float | None = None) -> bool:
        """Waits for all jobs that are pending now. Returns False on a timeout of seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for job in self.pending():
            if not job.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return False
        return True

    def stop(self) -> None:
        """The job at hand is finished, the rest is dropped."""
        self.stopped = True
        thread = self._thread
        if thread is not None and thread.is_alive():
            self.inbox.put(None)
            thread.join()

    def after_fork(self) -> None:
        """In a child: what was pending is queued again, for a thread that is yet to be started."""
        old, jobs = self.inbox, self.pending()
        self._reset()
        while not old.empty():
            item = old.get_nowait()
            if not (item is None or isinstance(item, Job)):
                self.inbox.put(item)
        for job in jobs:
            job.renew()
            self._pending[job.number] = job
            self.inbox.put(job)

    def _run(self) -> None:
        heap: list[tuple[float, int, Job]] = []  # a job may be there twice
        inbox = self.inbox
        while True:
            try:
                item = inbox.get(block=not heap)
            except queue.Empty:
                self._serve(heapq.heappop(heap)[2])
                continue
            if item is None:
                return
            if isinstance(item, Job):
                heapq.heappush(heap, (item.priority, item.number, item))
            else:
                self.handle(item)
            del item

    def _serve(self, job: Job) -> None:
        if job.finished:
            return
        error: BaseException | None = None
        try:
            if not job.cancelled:
                job.task()
        except BaseException as caught:
            error = caught
        self._finish(job, error)

    def _finish(self, job: Job, error: BaseException | None) -> None:
        if error is not None:
            self.failed(error)
        job.finish(error)
        self._pending.pop(job.number, None)  # last: a fork before it does the job again
