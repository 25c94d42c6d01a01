"""Floor 3: groups of Nodes become Kernels, Kernels become an ordered plan."""
