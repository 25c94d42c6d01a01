"""Interrupts that wait for the end of a block: `with Held(): ...`.

Where the driver of a GPU is called, an interrupt would leave its objects half made, be lost in a
destructor, or come between work that overwrites a value and the note that it is done.
"""

from __future__ import annotations

import signal
import threading
from _signal import getsignal
from _signal import signal as handle  # signal's own make enums of numbers first: 1 us each
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGALRM")  # those that people let raise
_SIGNALS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))


class Held:
    """Within the block Python's handlers of these signals do not run; at its end those whose signal
    came are called, and what they raise is raised.
    """

    __slots__ = ("_came", "_handlers")

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[tuple[int, Any]] = []

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # no handler runs here
        try:
            for number in _SIGNALS:
                handler = getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    handle(number, self._note)
        except BaseException:
            self.__exit__()
            raise

    def _note(self, number: int, frame: Any) -> None:
        self._came.append((number, frame))

    def __exit__(self, *error: object) -> None:
        try:
            while self._handlers:
                number = next(iter(self._handlers))
                handle(number, self._handlers[number])  # runs those that are back already
                del self._handlers[number]
        except BaseException:
            self.__exit__()
            raise
        while self._came:
            number, frame = self._came.pop(0)
            handler = getsignal(number)
            if callable(handler):
                handler(number, frame)
