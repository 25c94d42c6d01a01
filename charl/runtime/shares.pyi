"""For type checkers: this compiled module is internal, and its names are not typed."""

from typing import Any

def __getattr__(name: str) -> Any: ...
