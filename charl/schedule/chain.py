"""Chains: launches that are done together, item by item of a batch, so that what lies between them is never whole.

Attention is a product, a softmax and a product. Where the scores are wanted by nobody else, and all three walk the
same batch outermost, each thread makes the scores of one item, their softmax, and the part of the result that
follows, before it goes on to the next item: it holds one item's scores, in the cache. The kernels are those of
separate launches, run over fewer units at a time, so no value changes.

Items that share an operand (blocks of queries, the keys of one head) follow each other. What the next item reads is
fetched into the cache beside this one's row work, which asks for less of memory than products do.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple
from charl.schedule.kernel import Access, Contract, Int, P
from charl.schedule.prepare import Graph
from charl.schedule.sizes import Number, product, same
from charl.schedule.stages import Lowered

LEAST_ITEMS = 16  # of a chain: fewer leave threads without work
LEAST_ELEMENTS = 1 << 15  # of what lies between two launches
PIECE = (
    1 << 11
)  # elements of row work between two fetches: 2^10 to 2^12 are as good, 2^13 loses half of the gain


class Read(NamedTuple):
    """What argument `arg` of a step holds for an item: `rows`, `apart` bytes from each other, of `nbytes` each. The
    first row lies at `offset` and, for each outer axis (extent, step), as many steps as the item's index there.
    """

    step: int  # from the chain's first
    arg: int
    offset: Number
    rows: Number
    apart: Number
    nbytes: Number
    outer: tuple[tuple[Number, Number], ...]


class Chain(NamedTuple):
    """Steps [first, first + count). `vertices`: what only they read, one item at a time. `inmost`: (extent, items of
    one step) of the axis that items are walked along first. `reads` are fetched for the next item while step
    first + `resting` is done in so many `pieces`.
    """

    first: int
    count: int
    items: Number
    vertices: tuple[int, ...]
    inmost: tuple[Number, Number]
    resting: int
    pieces: Number
    reads: tuple[Read, ...]


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
    best = 0  # steps
    for last in range(at, len(groups) - 1):
        made = _passed_on(graph, groups, survivors, items, last)
        if made is None:
            break
        vertices.append(made)
        if isinstance(groups[last + 1].kernel, Contract):
            best = last + 2 - at
    if best == 0 or items < LEAST_ITEMS or product(graph.shape(vertices[0])) < LEAST_ELEMENTS:
        return None
    steps = groups[at : at + best]
    resting = next((k for k, g in enumerate(steps) if not isinstance(g.kernel, Contract)), 0)
    pieces = product(graph.shape(vertices[0])) // items // PIECE + 1 if resting else 1
    reads = _reads(steps, set(vertices)) if resting else ()
    inmost = _inmost(groups[at])
    return Chain(at, best, items, tuple(vertices[: best - 1]), inmost, resting, pieces, reads)


def _inmost(group: Lowered) -> tuple[Number, Number]:
    """The axis along which a product's right side stays the same, where there is one."""
    kernel = group.kernel
    extents = _numbers(group, [axis.extent for axis in kernel.outer])
    for axis, stride in enumerate(kernel.rhs.strides[: len(extents)]):
        if stride == 0:
            return extents[axis], product(extents[axis + 1 :])
    return 1, 1


def _reads(steps: Sequence[Lowered], inside: set[int]) -> tuple[Read, ...]:
    """What the products of a chain read that lies in rows, of vertices that are not the chain's own."""
    result = []
    for step, group in enumerate(steps):
        kernel = group.kernel
        if not isinstance(kernel, Contract):
            continue
        outer = _numbers(group, [axis.extent for axis in kernel.outer])
        i, j, k = _numbers(group, [kernel.i.extent, kernel.j.extent, kernel.k.extent])
        for access, axis, across in ((kernel.lhs, -3, i), (kernel.rhs, -2, j)):
            if group.args[access.arg] in inside or 1 not in access.strides[-3:]:
                continue
            size = BY_SHORT[kernel.args[access.arg].dtype].itemsize
            offset, *steps_of = (
                n * size for n in _numbers(group, (access.offset, *access.strides))
            )
            rows, apart, row = across, steps_of[axis], k
            if access.strides[-1] != 1:
                rows, apart, row = k, steps_of[-1], across
            pairs = tuple(zip(outer, steps_of))
            result.append(Read(step, access.arg, offset, rows, apart, row * size, pairs))
    return tuple(result)


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
