# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Template: the graph that a function records for operands of given dtypes and shapes, made once.

Later calls record one `compound` Node, which stands for all of the Template's; the engine opens it when it makes a
plan, so that nothing below knows it. A Template of one Node is that Node with other sources.
"""

from libc.stdint cimport int64_t

from charl.core cimport infer
from charl.graph cimport node as graph
from charl.graph.node cimport Node

from charl.graph import printer

cdef int _count = 0


cdef class Template:
    """Made by `template`."""


def template(Node result not None, tuple inputs not None):
    """The Template of result as a function of inputs, leaves without value; None where it is none of them alone:
    where it writes into one, checks an index or reads other arrays.
    """
    global _count
    cdef Template made
    cdef Node node
    cdef list order = []
    cdef int64_t least = -1, size
    for node in printer.walk([result]):
        if any([node is given for given in inputs]):
            continue
        if node.value is not None or node.op in (graph.LEAF, graph.WRAP_INDEX):
            return None
        if node.op == graph.UPDATE and any([node.src[0] is given for given in inputs]):
            return None
        order.append(node)
        if node.op in (graph.SUM, graph.PROD, graph.MAX, graph.MIN, graph.ANY, graph.ALL):
            size = infer.size_of(node.shape)
            least = size if least < 0 else min(least, size)
    if not order or result.op == graph.CONST:
        return None
    made = Template.__new__(Template)
    _count += 1
    made.inputs, made.order, made.number, made.depth = inputs, tuple(order), _count, result.depth
    made.alone = len(order) == 1 and result.src == inputs
    made.small = 0 <= infer.size_of(result.shape) <= least
    return made


cdef Node use(tuple extra, tuple src):
    """The Node of a Template for other operands. extra: (template, (), None)."""
    cdef Template made = <Template>extra[0]
    cdef Node like = <Node>made.order[len(made.order) - 1], node
    if made.alone:
        node = graph.new(like.op, like.dtype, like.shape, src)
        node.extra, node.attr_id = like.extra, like.attr_id
        return node
    node = graph.new(graph.COMPOUND, like.dtype, like.shape, src)
    node.extra, node.attr_id = extra, made.number
    node.depth += made.depth - 1
    return node
