"""Host: what an emitter may assume about the machine that will run its code."""

from __future__ import annotations

from charl.core.named import NamedTuple


class Host(NamedTuple):
    """Target of code generation: plain data, which runtime.jit.machine() finds out."""

    triple: str
    cpu: str
    features: str  # LLVM's list: "+avx2,-avx512f,..."
    vector_bytes: int  # 16, 32 or 64: one vector register
    f16c: bool  # conversions between float16 and float32 in hardware

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    @property
    def scales(self) -> bool:
        """Whether y * 2**n of vectors is one instruction."""
        return self.has("avx512f") and self.has("avx512vl")

    def native_mask(self, itemsize: int) -> bool:
        """Whether masked loads and stores of consecutive elements are single instructions."""
        return self.has("avx512bw") or (itemsize >= 4 and self.has("avx"))

    def native_gather(self, itemsize: int) -> bool:
        """Whether masked gathers and scatters are single instructions."""
        return itemsize >= 4 and self.has("avx512f")


GENERIC = Host("x86_64-unknown-linux-gnu", "x86-64", "", 16, False)
HASWELL = Host("x86_64-unknown-linux-gnu", "haswell", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2", 32, True)
