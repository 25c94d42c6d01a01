# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What a walk found, as it is scheduled: with the Nodes of its templates in place of those that stand for them.

A plan is made of these and is then told the walk's own numbers. What a template computes on its way is no Node of the
walk: it lives within the plan, and its constants are the plan's.
"""

from charl.engine.walk cimport state_t
from charl.graph cimport node as graph
from charl.graph.node cimport SEEN, Node
from charl.graph.template cimport Template

from charl.core.errors import ValueNeeded


cdef class Work:
    """Made by `opened`."""

    def params(self, tuple given, tuple scalars):
        """Launch parameters and (position, number in the walk) of those that constants fill in, from a plan's own."""
        cdef list numbers = list(given), left = []
        for position, number in scalars:
            place, bits = self.scalars[number]
            if place >= 0:
                left.append((position, place))
            else:
                numbers[position] = bits
        return numbers, left


cdef Work opened(state_t *s):
    """The Work of a walk. Each Node's `index` is its place in it from now on."""
    cdef Work work = Work.__new__(Work)
    cdef Py_ssize_t i, scalars = 0
    cdef dict like = {}
    cdef Node node
    cdef int flags
    work.nodes, work.flags, work.places, work.scalars = [], [], [], []
    for i in range(s.count):
        node = <Node>s.order[i]
        flags = (s.key[s.headers[i]] >> 24) & 255
        if node.value is None:
            if node.op == graph.LEAF:
                raise ValueNeeded("a function needed a value while its template was recorded")
            if node.op == graph.COMPOUND:
                like[id(node)] = _open(work, node, like)
                # sums that are held are stored once something needs them: so is what is made of them alone
                work.flags[len(work.flags) - 1] = flags | (SEEN if node.handles and _small(node) else 0)
                work.places[len(work.places) - 1] = i
                continue
            if node.op == graph.CONST:
                work.scalars.append((scalars, 0))
                scalars += 1
            elif like:
                made = _with_sources(node, like)
                if made is not node:
                    like[id(node)] = node = made
        _append(work, node, flags, i)
    return work


cdef bint _small(Node node):
    return (<Template>node.attrs).small


cdef int _append(Work work, Node node, int flags, Py_ssize_t place) except -1:
    node.index = len(work.nodes)
    work.nodes.append(node)
    work.flags.append(flags)
    work.places.append(place)
    return 0


cdef Node _with_sources(Node node, dict like):
    """node on what takes the place of its sources; itself where nothing does."""
    cdef list sources = [like.get(id(source), source) for source in node.src]
    cdef Py_ssize_t k
    for k in range(len(sources)):
        if sources[k] is not node.src[k]:
            return graph.make(
                node.op, node.dtype, node.shape, tuple(sources), node.attrs, node.sizes, node.bits, node.site
            )
    return node


cdef Node _open(Work work, Node node, dict like):
    """Appends a template's Nodes on a compound's sources, and returns the last one."""
    cdef Template template = <Template>node.attrs
    cdef Node inner, made = None
    cdef dict inside = {}
    cdef Py_ssize_t k
    for k in range(len(template.inputs)):
        inside[id(template.inputs[k])] = like.get(id(node.src[k]), node.src[k])
    for inner in template.order:
        sources = tuple([inside[id(source)] for source in inner.src])
        made = graph.make(inner.op, inner.dtype, inner.shape, sources, inner.attrs, inner.sizes, inner.bits)
        if inner.op == graph.CONST:
            work.scalars.append((-1, inner.bits))
        inside[id(inner)] = made
        _append(work, made, 0, -1)
    return made
