# cython: language_level=3
from charl.graph.node cimport Node
from charl.tensor.handle cimport Tensor

cdef Node binary_node(int op, object left, object right)
cdef Node unary_node(int op, Tensor tensor)
cdef object binary(int op, object left, object right)
cdef Node product_node(Node a, Node b)
cdef object product(object left, object right)
cdef object unary(int op, Tensor tensor)
cdef object power(object left, object right)
cdef object in_place(Tensor tensor, int op, object other)
cdef object assigned(Tensor tensor, int op, Node node)
