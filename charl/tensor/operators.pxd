# cython: language_level=3
from charl.graph.node cimport Node
from charl.tensor.handle cimport Tensor

cdef object recorded(int op, object left, object right, bint as_node)
cdef Node unary_node(int op, Tensor tensor)
cdef Node product_node(Node a, Node b)
cdef object product(object left, object right)
cdef object unary(int op, Tensor tensor)
cdef object power(object left, object right)
cdef object in_place(Tensor tensor, int op, object other)
cdef object assigned(Tensor tensor, int op, Node node)


cdef inline Node binary_node(int op, object left, object right):
    """The Node of a binary op; None where an operand is none."""
    return <Node>recorded(op, left, right, True)


cdef inline object binary(int op, object left, object right):
    """The Tensor of an operator, or NotImplemented."""
    cdef object found = recorded(op, left, right, False)
    return NotImplemented if found is None else found
