"""Chains: launches that are done together, item by item of a batch, so that what lies between them is never whole.

Attention is a product, a softmax and a product. Where the scores are wanted by nobody else, and all three walk the
same batch outermost, each thread makes the scores of one item, their softmax, and the part of the result that
follows, before it goes on to the next item: it holds one item's scores, in the cache. The kernels are those of
separate launches, run over fewer units at a time, so no value changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.core.named import NamedTuple
from charl.schedule.kernel import Access, Contract, Int, P
from charl.schedule.prepare import Graph
from charl.schedule.sizes import Number, product, same
from charl.schedule.stages import Lowered

LEAST_ITEMS = 16  # of a chain: fewer leave threads without work
LEAST_ELEMENTS = 1 << 15  # of what lies between two launches


class Chain(NamedTuple):
    """Steps [first, first + count). `vertices`: what only they read, one item at a time."""

    first: int
    count: int
    items: Number
    vertices: tuple[int, ...]


def chains(graph: Graph, groups: Sequence[Lowered], survivors: set[int]) -> list[Chain]:
    """The chains among kernels in launch order; each begins and ends with a product."""
    result: list[Chain] = []
    at = 0
    while at < len(groups):
        found = _from(graph, groups, survivors, at)
        if found is not None:
            result.append(found)
        at += found.count if found is not None else 1
    return result


def _from(graph: Graph, groups: Sequence[Lowered], survivors: set[int], at: int) -> Chain | None:
    kernel = groups[at].kernel
    if not isinstance(kernel, Contract) or not kernel.outer:
        return None
    items = product(_numbers(groups[at], [axis.extent for axis in kernel.outer]))
    vertices: list[int] = []
    best = None
    for last in range(at, len(groups) - 1):
        made = _passed_on(graph, groups, survivors, items, last)
        if made is None:
            break
        vertices.append(made)
        if isinstance(groups[last + 1].kernel, Contract):
            best = Chain(at, last + 2 - at, items, tuple(vertices))
    if best is None or items < LEAST_ITEMS:
        return None
    return best if product(graph.shape(best.vertices[0])) >= LEAST_ELEMENTS else None


def _passed_on(
    graph: Graph, groups: Sequence[Lowered], survivors: set[int], items: Number, at: int
) -> int | None:
    """The one vertex that kernel `at` makes, where only the next kernel reads it, and both walk it in C order, so
    that an item of the one is an item of the other.
    """
    group, follower = groups[at], groups[at + 1]
    if len(group.roots) != 1 or group.sites or follower.sites:
        return None
    (root,) = group.roots
    readers = [k for k, other in enumerate(groups) if k != at and root in other.args]
    if root in survivors or graph.bases(root) or readers != [at + 1]:
        return None
    if not all(_walks(g, root, items) for g in (group, follower)):
        return None
    return root


def _walks(group: Lowered, vertex: int, items: Number) -> bool:
    """Whether unit after unit of a kernel walks a vertex in C order, and items are a whole number of units."""
    kernel = group.kernel
    outer = _numbers(group, [axis.extent for axis in kernel.outer])
    if isinstance(kernel, Contract):
        i, j, k = _numbers(group, [kernel.i.extent, kernel.j.extent, kernel.k.extent])
        if kernel.digits or not product(outer) == items:
            return False
        sides = [(kernel.lhs, [*outer, i, 1, k]), (kernel.rhs, [*outer, 1, j, k])]
        body = kernel.epilogue
        inner = [i, j]
    else:
        if kernel.order != "row" or kernel.block is not None or not outer or kernel.inner is None:
            return False
        if not product(outer) % items == 0:
            return False
        sides, inner = [], _numbers(group, [kernel.inner.extent])
        body = tuple(instr for stage in kernel.stages for instr in stage.body)
    at = group.args.index(vertex)
    used = [(access, extents) for access, extents in sides if access.arg == at]
    for instr in body:
        access = instr.attr[0] if instr.op == "gather" else instr.attr  # type: ignore[index]
        if isinstance(access, Access) and access.arg == at:
            if instr.op == "gather":
                return False
            used.append((access, [*outer, *inner]))
    return all(_is_c_order(group, access, extents) for access, extents in used)


def _is_c_order(group: Lowered, access: Access, extents: Sequence[Number]) -> bool:
    if not _numbers(group, [access.offset])[0] == 0:
        return False
    step: Number = 1
    for stride, extent in zip(reversed(_numbers(group, access.strides)), reversed(extents)):
        if same(extent, 1):
            continue
        if not stride == step:
            return False
        step = step * extent
    return True


def _numbers(group: Lowered, values: Sequence[Int]) -> list[Number]:
    return [group.params[n.k] if isinstance(n, P) else n for n in values]
