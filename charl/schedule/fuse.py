"""Fusion: which vertices are stored, and which of them share a kernel.

Stored are: what was asked for; what an earlier plan computed without storing; scans, updates and
blocked reductions; reductions, contractions and gathers that a live Tensor holds; and all that
lowering finds it cannot do without (MustStore). Everything else is computed where it is used. Each
stored vertex is a root; roots over one iteration space that share inputs go into one kernel. On a
device that binds few buffers (a GPU), more is stored until each kernel fits, and float sums are kept
out of kernels with scans. No choice made here changes a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from charl.core.errors import InternalError
from charl.schedule import rims
from charl.schedule.demand import HEAVY, OPS_COST, Incompatible, MustPack, MustStore
from charl.schedule.index import NotAffine
from charl.schedule.kernel import Kernel, instructions
from charl.schedule.lower import lower
from charl.schedule.prepare import HANDLE, MOVEMENT, OUT, SEEN, Graph
from charl.schedule.sizes import same
from charl.schedule.stages import Lowered

MAX_OPS = 256  # of one kernel, and of these
MAX_HEAVY = 20
MAX_ARGS = 28
ANY = 1 << 30  # as many buffers as a kernel wants
MAX_TRIES = 4  # groups that a root is offered to
OTHERS = 3  # buffers of a kernel beside its inputs: parameters, one output, scratch or errors
CHEAP_INPUTS = 3  # a cheap value of more inputs is stored rather than computed in two kernels
SOURCES = ("leaf", "const", "fill", "iota")
ALONE = ("update", "rim", "parts", "pack")  # their kernels have one root


def fuse(graph: Graph, buffers: int = ANY) -> tuple[list[Lowered], set[int]]:
    """The kernels in launch order, and the stored vertices. A kernel has at most `buffers` buffers
    (`width`), but for single operations that need more.
    """
    stored = _first_stored(graph)
    _cut_large(graph, stored, min(MAX_ARGS, buffers - OTHERS))
    while True:
        try:
            groups = _partition(graph, stored, buffers)
        except MustStore as must:
            made = rims.turn(graph, must.update) if must.update >= 0 and graph.host else None
            if made:
                stored.update(m for m in made if graph[m].op != "leaf")
                continue
            if must.vertex in stored or graph[must.vertex].op == "leaf":
                raise InternalError(
                    f"fuse: vertex {must.vertex} is stored already", graph
                ) from None
            stored.add(must.vertex)
            continue
        except MustPack as must:
            stored.add(graph.pack(must.vertex, must.axis))
            continue
        again = _shared(graph, groups, stored)
        if again:
            stored |= again
            continue
        ordered = _order(graph, groups)
        if ordered is not None:
            return ordered, stored
        for copy in graph.inplace:  # an update and a reader of its old value wait for each other
            stored.add(copy)
        graph.inplace.clear()


def _first_stored(graph: Graph) -> set[int]:
    stored = set()
    parts = {s for v in graph.vertices if v.op == "parts" for s in v.src}
    for at, v in enumerate(graph.vertices):
        if v.op == "leaf":
            continue
        if v.op == "update":
            copy = v.src[0]
            base = graph[copy].src[0]
            if copy not in graph.inplace:
                stored.add(copy)
            elif graph[base].op != "leaf":
                stored.add(base)
        arithmetic = v.op not in MOVEMENT and v.op not in SOURCES
        origin = v
        while origin.op == "reshape" and graph[origin.src[0]].node < 0:
            origin = graph[origin.src[0]]
        costly = origin.op in ("reduce", "matmul", "gather", "scan")
        if (
            v.flags & OUT
            or v.op in ("scan", "update", "empty", "parts")
            or (v.op == "reduce" and v.attrs[2] and at not in parts)  # type: ignore[index]
            or (v.flags & SEEN and arithmetic)
            or (v.flags & HANDLE and costly)
        ):
            stored.add(at)
    return stored


def width(group: Lowered) -> int:
    """The buffers that a kernel binds: arguments, parameters, scratch, and the record of errors."""
    slots = isinstance(group.kernel, Kernel) and bool(group.kernel.slots)
    return len(group.args) + 1 + slots + bool(group.sites)


def _cut_large(graph: Graph, stored: set[int], most: int) -> None:
    """Stores a vertex wherever the arithmetic behind it would outgrow one kernel, or have more than
    `most` inputs.
    """
    uses = [0] * len(graph.vertices)
    for v in graph.vertices:
        for s in v.src:
            uses[s] += 1
    behind: dict[
        int, tuple[set[int], set[int]]
    ] = {}  # the ops that compute a vertex, and its inputs
    for at, v in enumerate(graph.vertices):
        ops: set[int] = {at} if v.op not in MOVEMENT and v.op not in SOURCES else set()
        inputs: set[int] = set()
        for s in v.src:
            if s in stored or graph[s].op == "leaf":
                inputs.add(s)
            else:
                ops |= behind[s][0]
                inputs |= behind[s][1]
            uses[s] -= 1
            if not uses[s]:
                behind.pop(s, None)
        heavy = sum(OPS_COST.get(graph[o].op, 1) >= HEAVY for o in ops)
        if (len(ops) > MAX_OPS or heavy > MAX_HEAVY or len(inputs) > most) and v.op not in MOVEMENT:
            stored.add(at)
        behind[at] = ops, inputs


def _partition(graph: Graph, stored: set[int], buffers: int) -> list[Lowered]:
    groups: list[Lowered] = []
    home: dict[int, int] = {}
    for root in sorted(stored):
        if _nothing(graph, root):
            continue
        try:
            single = lower(graph, stored, [root])
        except Incompatible:
            raise InternalError(
                f"fuse: vertex {root} ({graph[root].op}) cannot be lowered alone"
            ) from None
        if width(single) > buffers:
            _cut_wide(graph, stored, single, buffers)
        if not graph.host:
            for at in _sums_beside_a_scan(graph, single):
                raise MustStore(at)
        before = max((home[a] for a in single.args if a in home), default=-1)
        at = _join(graph, stored, groups, single, before, buffers)
        if at < 0:
            groups.append(single)
            at = len(groups) - 1
        for member in groups[at].roots:
            home[member] = at
    return groups


def _cut_wide(graph: Graph, stored: set[int], group: Lowered, buffers: int) -> None:
    """Raises MustStore for a step of a kernel with too many buffers: the one with the most inputs
    behind it that a kernel takes. Returns where no step is left to be stored.
    """
    behind: dict[int, set[int]] = {}
    ranks = []
    for at in sorted(group.demanded):
        v = graph[at]
        behind[at] = set()
        for s in v.src:
            behind[at] |= behind.get(s, {s} if s in stored or graph[s].op == "leaf" else set())
        over = len(behind[at]) - max(buffers - OTHERS, 1)
        plain = v.op not in (*MOVEMENT, *SOURCES, "update", "copy")
        if plain and at not in group.roots and len(behind[at]) > 1:
            ranks.append((over > 0, abs(over), at))
    if ranks:
        raise MustStore(min(ranks)[2])


def _sums_beside_a_scan(graph: Graph, group: Lowered) -> list[int]:
    """Float sums and products in a kernel with a scan: a GPU walks its rows in an order that others
    have not.
    """
    if all(instr.op != "scan" for instr in instructions(group.kernel)):
        return []
    folds = [at for at in group.demanded if graph[at].op == "reduce" and graph[at].dtype[0] in "fb"]
    return [at for at in folds if graph[at].attrs[0] in ("add", "mul", "dot")]  # type: ignore[index]


def _nothing(graph: Graph, root: int) -> bool:
    """Whether a root has no element to write."""
    v = graph[root]
    shape = graph.shape(v.src[1]) if v.op == "update" else v.shape
    return any(same(n, 0) for n in shape)


def _join(
    graph: Graph,
    stored: set[int],
    groups: list[Lowered],
    single: Lowered,
    before: int,
    buffers: int,
) -> int:
    """The group that took the root in, or -1. A group before one that the root reads from is out of
    the question.
    """
    (root,) = single.roots
    if graph[root].op in ALONE:
        return -1
    tries = 0
    inputs = set(single.args) | set(single.demanded)
    for at in range(len(groups) - 1, max(before, 0) - 1, -1):
        group = groups[at]
        if any(graph[r].op in ALONE for r in group.roots):
            continue
        if not inputs & (set(group.args) | set(group.demanded)):
            continue
        if tries == MAX_TRIES:
            break
        tries += 1
        try:
            merged = lower(graph, stored, sorted([*group.roots, root]))
        except (MustStore, Incompatible, NotAffine):
            continue
        if not graph.host and _sums_beside_a_scan(graph, merged):
            continue
        fits = len(merged.args) <= MAX_ARGS and width(merged) <= buffers
        if fits and len(instructions(merged.kernel)) <= MAX_OPS + MAX_ARGS:
            groups[at] = merged
            return at
    return -1


def _shared(graph: Graph, groups: Sequence[Lowered], stored: set[int]) -> set[int]:
    """Vertices that several kernels would compute, and that cost more than their bytes."""
    times: dict[int, int] = {}
    for group in groups:
        for v in group.demanded:
            if v not in stored:
                times[v] = times.get(v, 0) + 1
    shared = {v for v, n in times.items() if n > 1}
    users: dict[int, list[int]] = {}
    for at in shared:
        for s in set(graph[at].src) & shared:
            users.setdefault(s, []).append(at)
    result = set()
    inputs: dict[int, set[int]] = {}
    for at in sorted(shared):
        v = graph[at]
        inputs[at] = set()
        for s in v.src:
            inputs[at] |= inputs.get(s, {s} if s in stored or graph[s].op == "leaf" else set())
        heavy = OPS_COST.get(v.op, 1) >= HEAVY or v.op in ("reduce", "matmul", "gather")
        if heavy or (len(inputs[at]) > CHEAP_INPUTS and v.op not in MOVEMENT):
            while len(users.get(at, ())) == 1 and _same_shape(graph, at, users[at][0]):
                at = users[at][0]  # cheap steps after a heavy one are shared as well
            result.add(at)
    return result


def _same_shape(graph: Graph, a: int, b: int) -> bool:
    left, right = graph.shape(a), graph.shape(b)
    return len(left) == len(right) and all(same(m, n) for m, n in zip(left, right))


def _order(graph: Graph, groups: list[Lowered]) -> list[Lowered] | None:
    """Groups after those they read from; updates after all readers of what they overwrite. None:
    impossible.
    """
    home = {root: at for at, group in enumerate(groups) for root in group.roots}
    after: list[set[int]] = [set() for _ in groups]
    for at, group in enumerate(groups):
        after[at] |= {home[a] for a in group.args if a in home} - {at}
        for root in group.roots:
            for base in graph.bases(root):
                if base in home:
                    after[at].add(home[base])
                after[at] |= {k for k, other in enumerate(groups) if k != at and base in other.args}
    result: list[Lowered] = []
    done: set[int] = set()
    while len(done) < len(groups):
        ready = next((k for k in range(len(groups)) if k not in done and after[k] <= done), None)
        if ready is None:
            return None
        done.add(ready)
        result.append(groups[ready])
    return result
