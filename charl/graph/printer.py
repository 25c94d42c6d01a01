"""Short readable text of a graph: one line a Node, sources before their users."""

from __future__ import annotations

from collections.abc import Sequence

from charl.core import dtypes, infer
from charl.graph.node import Node, table_name


def walk(roots: Sequence[Node]) -> list[Node]:
    """All Nodes below roots, depth first, sources left to right, each once, after its sources."""
    order: list[Node] = []
    seen: set[int] = set()
    for root in roots:
        stack = [(root, iter(root.src))]
        while stack:
            node, sources = stack[-1]
            if id(node) in seen:
                stack.pop()
                continue
            source = next(sources, None)
            if source is None:
                seen.add(id(node))
                order.append(node)
                stack.pop()
            elif id(source) not in seen:
                stack.append((source, iter(source.src)))
    return order


def text(nodes: Sequence[Node]) -> str:
    """Nodes in an order that has sources first -> lines such as `%2 = add f32 (3, 4) %0, %1`."""
    number = {id(node): k for k, node in enumerate(nodes)}
    lines = []
    for k, node in enumerate(nodes):
        dtype = dtypes.ALL[node.dtype]
        name = "leaf" if node.realized else table_name(node.op)
        parts = [f"%{k} = {name} {dtype.short} {node.shape}"]
        if not node.realized:
            parts += [", ".join(f"%{number[id(source)]}" for source in node.src)]
            if name == "const":
                parts.append(repr(infer.decode(node.bits, dtype)))
            if node.attrs is not None:
                parts.append(repr(node.attrs))
            if node.sizes:
                parts.append(f"sizes {node.sizes}")
        lines.append(" ".join(part for part in parts if part))
    return "\n".join(lines)
