"""The worker thread where a fork or an interrupt comes between two of its steps."""

import os
import queue
import threading

import pytest

from charl.runtime.background import Worker


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_between_the_end_of_a_task_and_its_report():
    """The child, in which the thread is gone, does that job again: nobody waits in vain."""
    parent = os.getpid()
    reporting, go_on = threading.Event(), threading.Event()

    def failed(error):
        if os.getpid() == parent:
            reporting.set()
            go_on.wait(60)

    worker = Worker("worker", print, failed)
    job = worker.submit(lambda: 1 / 0)
    assert reporting.wait(60)
    child = os.fork()
    if child == 0:
        worker.after_fork()
        done = job.wait(20) and isinstance(job.error, ZeroDivisionError) and not worker.pending()
        os._exit(0 if done else 1)
    go_on.set()
    assert os.waitpid(child, 0)[1] == 0
    assert job.wait(60) and not worker.pending()
    worker.stop()


def test_an_interrupted_submit_can_be_waited_for():
    """Who drains must not wait for a job that never reached the queue."""
    worker, ran = Worker("worker", print, print), []
    interrupts = [KeyboardInterrupt]

    class Interrupting(queue.SimpleQueue):
        def put(self, item):
            if interrupts:
                raise interrupts.pop()
            super().put(item)

    worker.inbox = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        worker.submit(lambda: ran.append(1))
    assert worker.drain(60) and ran == [1]
    assert not worker.pending()
    worker.stop()


def test_a_job_is_done_once():
    """However often it is put into the queue."""
    worker, ran = Worker("worker", print, print), []
    job = worker.submit(lambda: ran.append(1))
    for _ in range(3):
        job.hurry()
    assert job.wait(60) and worker.submit(lambda: ran.append(2)).wait(60)
    assert ran == [1, 2]
    worker.stop()
