"""Floor 3: groups of Nodes become Kernels, Kernels become an ordered plan."""

from charl.core.lazy import submodules

# loaded at the first kernel: `import charl` takes half the time
__getattr__ = submodules(__name__, "kernel", "plan")
