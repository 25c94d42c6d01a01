"""For type checkers: a Node's fields. The rest of this compiled module is not typed."""

from typing import Any

class Node:
    op: int
    dtype: int
    shape: tuple[int, ...]
    src: tuple[Node, ...]
    attrs: Any
    sizes: tuple[int, ...]
    bits: int
    value: Any
    site: str | None
    def __getattr__(self, name: str) -> Any: ...

def make(*arguments: Any, **named: Any) -> Node: ...
def __getattr__(name: str) -> Any: ...
