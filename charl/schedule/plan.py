"""A schedule: ordered launches over buffer slots, made once for a structure and bound to extents by
`bind`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from charl.core.dtypes import BY_SHORT
from charl.core.named import NamedTuple
from charl.schedule.chain import Chain, chains
from charl.schedule.fuse import ANY, fuse, width
from charl.schedule.kernel import Value, verify
from charl.schedule.prepare import HANDLE, OUT, SEEN, Graph, prepare
from charl.schedule.sizes import Number, Trace, product
from charl.schedule.stages import Lowered

# Called with the name of each pass and what it made, where someone listens (CHARL_DEBUG=3).
watch: Callable[[str, object], None] | None = None


class Slot(NamedTuple):
    """A buffer of a plan. kind: leaf (given), store (becomes the node's value), temp. alias: the
    slot it overwrites.
    """

    kind: str
    node: int
    dtype: str
    alias: int


class Step(NamedTuple):
    """One launch. `buffers` are slots, aligned with kernel.args; `sites` the nodes that its checks
    belong to; `width` counts what it binds on a GPU.
    """

    kernel: Value
    buffers: tuple[int, ...]
    sites: tuple[int, ...]
    width: int


class BoundStep(NamedTuple):
    """Launch parameters; `scalars` are (position in params, number of the scalar) to be filled in
    at each launch.
    """

    params: tuple[int, ...]
    scalars: tuple[tuple[int, int], ...]
    units: int
    work: int
    scratch: int


class Bound(NamedTuple):
    """`chains` are Chains as plain tuples, of slots in place of vertices and of plain numbers."""

    steps: tuple[BoundStep, ...]
    nbytes: tuple[int, ...]
    chains: tuple[tuple, ...]


class Schedule(NamedTuple):
    """`bind(sizes)` gives a Bound, or None where a decision made for this structure does not hold
    for these sizes.
    """

    steps: tuple[Step, ...]
    slots: tuple[Slot, ...]
    bind: Callable[[Sequence[int]], Bound | None]

    def __str__(self) -> str:
        lines = [
            f"s{k} {s.kind} {s.dtype} node {s.node} alias {s.alias}"
            for k, s in enumerate(self.slots)
        ]
        for step in self.steps:
            lines += [f"launch {step.buffers}", str(step.kernel)]
        return "\n".join(lines)


def build(nodes: Sequence, flags: Sequence[int], buffers: int = ANY) -> Schedule:
    """Schedules Nodes (in DFS order, with their flags), in kernels of at most so many buffers. Pure:
    nothing is computed, no Node changes.
    """
    trace = Trace()
    graph = prepare(nodes, flags, trace, host=buffers == ANY)
    if watch is not None:
        watch("prepare", graph)
    groups, stored = fuse(graph, buffers)
    if watch is not None:
        for group in groups:
            watch(f"fuse and lower: vertices {group.roots}", group.kernel)
        watch("guards", "\n".join(f"{text} is {outcome}" for text, outcome in trace.guards.items()))
    slots: list[Slot] = []
    sizes: list[Number] = []
    numbers: dict[int, int] = {}
    survivors = _survivors(graph, stored)

    def slot(at: int) -> int:
        v = graph[at]
        if at not in numbers:
            alias = -1
            kind = "leaf" if v.op == "leaf" else "temp"
            if v.op != "leaf" and v.node >= 0 and at in survivors:
                kind = "store"
            bases = graph.bases(at)
            if bases:
                alias = slot(bases[-1])
            numbers[at] = len(slots)
            slots.append(Slot(kind, v.node, v.dtype, alias))
            sizes.append(product(v.shape) * BY_SHORT[v.dtype].itemsize)
        return numbers[at]

    for at in sorted(stored):
        slot(at)
    steps = []
    for group in groups:
        verify(group.kernel)
        places = tuple(slot(a) for a in group.args)
        steps.append(Step(group.kernel, places, tuple(group.sites), width(group)))
    linked = [
        chain._replace(vertices=tuple(slot(v) for v in chain.vertices))
        for chain in chains(graph, groups, survivors)
    ]
    return Schedule(tuple(steps), tuple(slots), _binder(trace, groups, sizes, linked))


def _survivors(graph: Graph, stored: set[int]) -> set[int]:
    """Stored vertices whose value outlives the plan: asked for, held, or needed by what stays
    pending and is held.
    """
    result = set()
    needed: set[int] = set()
    for at in reversed(range(len(graph.vertices))):
        v = graph[at]
        if at in stored:
            if at in needed or v.flags & (OUT | HANDLE | SEEN):
                result.add(at)
        elif at in needed or v.flags & HANDLE:
            needed.update(v.src)
    return result


def _binder(
    trace: Trace, groups: Sequence[Lowered], sizes: Sequence[Number], linked: Sequence[Chain]
) -> Callable:
    """A function of the signature's sizes: checks the guards and evaluates every parameter."""
    lines = ["def bind(d):"]
    for text, outcome in trace.guards.items():
        lines.append(f"    if ({text}) is not {outcome}: return None")
    lines.append("    return Bound((")
    for group in groups:
        params = "".join("0, " if isinstance(p, tuple) else f"{p}, " for p in group.params)
        scalars = tuple((k, p[1]) for k, p in enumerate(group.params) if isinstance(p, tuple))
        lines.append(
            f"        BoundStep(({params}), {scalars}, {group.units}, {group.work}, {group.scratch}),"
        )
    lines.append("    ), (" + "".join(f"{n}, " for n in sizes) + "), (")
    for c in linked:
        reads = tuple(map(tuple, c.reads))
        lines.append(f"        {(*c[:-1], reads)},")
    lines.append("    ))")
    space: dict = {"Bound": Bound, "BoundStep": BoundStep}
    exec(compile("\n".join(lines), "<charl bind>", "exec"), space)
    return space["bind"]
