"""Updates that read what they overwrite, at other places: `a[1:-1] = a[:-2] + a[2:]`.

Such an update gets a buffer of its own. What it leaves of its base, a slab before it and one behind it
along each axis, is copied there; the old buffer goes back to the pool after its last reader. So a
sweep of a stencil reads and writes an array once. A second such update of the same box finds the
border that it wants in the buffer before last, and overwrites that one: sweeps take turns with two.
"""

from __future__ import annotations

from charl.core.dtypes import BY_SHORT
from charl.schedule.prepare import SEEN, Graph
from charl.schedule.sizes import Number, product, same

Slab = tuple[tuple[Number, ...], tuple[Number, ...]]  # start, shape
# Bytes of a row up to which all of it is copied: it lies in few lines of memory, and its first and
# last elements in two of them.
SHORT = 256


def turn(graph: Graph, at: int) -> list[int] | None:
    """Gives update `at`, which was to write in place, a buffer that has its base around it. Returns
    the vertices that make it; None where that does not pay.
    """
    v = graph[at]
    copy, value = v.src
    base = graph[copy].src[0]
    older = _older(graph, at, base)
    graph.turned.setdefault(at, base)
    if older is not None:
        graph[copy].src = (older,)
        return [older]
    slabs = _slabs(graph, at, base)
    if not slabs:
        return None
    made: list[int] = []
    for places, shape in slabs:
        src = (*made[-1:], base)
        made.append(graph.add("rim", v.dtype, graph.shape(base), src, places, shape))
    graph.inplace.discard(copy)
    v.src = (made[-1], value)
    return made


def _older(graph: Graph, at: int, base: int) -> int | None:
    """What `base`, an update of the same box as `at`, was made from: outside the box they are equal.
    None where nothing is known of it, or where its buffer is wanted.
    """
    v, last = graph[at], graph[base]
    if at in graph.turned or base not in graph.turned or v.attrs != last.attrs:
        return None
    older = graph.turned[base]
    if graph[older].flags & SEEN or not graph.owned(older):
        return None
    return older if all(map(same, v.sizes, last.sizes)) else None


def _slabs(graph: Graph, at: int, base: int) -> list[tuple[tuple, tuple[Number, ...]]]:
    """(places, shape) of slabs that cover all but the update's box. Two of one shape are together."""
    v, whole = graph[at], graph.shape(base)
    rank = len(whole)
    if len(v.attrs) != 1 or v.attrs[0][0] != "slice":  # type: ignore[arg-type,index]
        return []
    start, step, shape = v.sizes[:rank], v.sizes[rank : 2 * rank], v.sizes[2 * rank :]
    if not all(same(n, 1) for n in step) or not product(shape) * 2 >= product(whole):
        return []
    ends = shape[-1] < whole[-1]
    if ends and rank > 1 and whole[-1] * BY_SHORT[v.dtype].itemsize <= SHORT:
        return [(((0,) * rank,), whole)]
    result = []
    for axis in range(rank):
        rest = whole[axis] - start[axis] - shape[axis]
        places: dict[Number, list] = {}
        for first, extent in ((0, start[axis]), (start[axis] + shape[axis], rest)):
            if extent == 0:
                continue
            known = next((n for n in places if n == extent), extent)
            places.setdefault(known, []).append((*start[:axis], first, *[0] * (rank - axis - 1)))
        for extent, corners in places.items():
            result.append((tuple(corners), (*shape[:axis], extent, *whole[axis + 1 :])))
    return result
