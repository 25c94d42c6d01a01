"""Floor 2: the tensor-level IR, Node, and pure rewrites of it."""
