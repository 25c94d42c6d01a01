"""Side wing: memory, threads and machine code. Imports floor 0 alone."""

from charl.core.lazy import submodules

# loaded at the first kernel: `import charl` takes half the time
__getattr__ = submodules(
    __name__, "clock", "device", "diskcache", "gpu", "interrupts", "jit", "probe", "tuning"
)
