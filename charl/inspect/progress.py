"""A progress bar of plain text."""

from __future__ import annotations

import sys


class Bar:
    """A progress bar on a terminal's standard error; silent elsewhere."""

    def __init__(self, total: int, wanted: bool = True, stream=sys.stderr):
        self.done, self.total, self.stream = 0, total, stream
        self.shown = wanted and stream.isatty()

    def step(self, what: str) -> None:
        """One more step is done; `what` is going on."""
        self.done += 1
        if self.shown:
            full = 30 * self.done // self.total
            self.stream.write(
                f"\r[{'#' * full:.<30}] {100 * self.done // self.total:3d}%  {what:<30}"
            )
            self.stream.flush()

    def close(self) -> None:
        """Wipes the line."""
        if self.shown:
            self.stream.write("\r" + " " * 72 + "\r")
            self.stream.flush()
