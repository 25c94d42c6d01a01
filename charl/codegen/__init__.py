"""Floor 4: one emitter a backend, Kernel -> text or bytecode."""

from charl.core.lazy import submodules

# loaded at the first kernel: `import charl` takes half the time
__getattr__ = submodules(__name__, "bytecode", "host", "llvm", "wgsl", "wgsl_probe", "wgsl_store")
