"""For type checkers: Tensor is typed where it is public, in charl/__init__.pyi."""

from typing import Any

Tensor: Any

def __getattr__(name: str) -> Any: ...
