"""The machine's limits, measured: bytes a second read and copied, multiply-adds a second. LLVM
makes the loops. A GPU's limits are charl.runtime.probe's.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

ACCUMULATORS = 12
BYTES = 256 << 20  # far beyond any last-level cache here
FMA_ROUNDS = 4_000_000
REPEATS = 7


@dataclass(frozen=True)
class Floor:
    """read, copy: bytes a second (copy counts both directions, stores past the caches); flops:
    float32, fma as two.
    """

    threads: int
    read: float
    copy: float
    flops: float

    def seconds(self, nbytes: int, flops: int) -> float:
        """The least time from memory: by bytes or by arithmetic, whichever is longer."""
        return max(nbytes / max(self.read, self.copy), flops / self.flops)


@dataclass(frozen=True)
class Peak:
    """Of a GPU. copy: bytes a second, both directions together; flops: float32, an fma as two."""

    adapter: str
    copy: float
    flops: float

    def seconds(self, nbytes: int, flops: int) -> float:
        """The least time from memory: by bytes or by arithmetic, whichever is longer."""
        return max(nbytes / self.copy, flops / self.flops)


def vector_lanes() -> int:
    """float32 lanes of this processor's vector registers."""
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


def source(lanes: int) -> str:
    """LLVM text of fma(out, rounds), read(out, x, vectors) and copy(out, x, vectors)."""
    v, k = f"<{lanes} x float>", ACCUMULATORS
    size = 4 * lanes
    numbers = range(k)
    fma_phi = "\n".join(
        f"  %a{i} = phi {v} [ zeroinitializer, %entry ], [ %b{i}, %loop ]" for i in numbers
    )
    fma = "\n".join(f"  %b{i} = call {v} @llvm.fma({v} %a{i}, {v} %x, {v} %y)" for i in numbers)
    load = "\n".join(
        f"  %q{i} = add i64 %i, {i}\n  %p{i} = getelementptr {v}, ptr %x, i64 %q{i}\n"
        f"  %l{i} = load {v}, ptr %p{i}, align {size}\n  %b{i} = fadd {v} %a{i}, %l{i}"
        for i in numbers
    )
    move = "\n".join(
        f"  %q{i} = add i64 %i, {i}\n  %p{i} = getelementptr {v}, ptr %x, i64 %q{i}\n"
        f"  %l{i} = load {v}, ptr %p{i}, align {size}\n"
        f"  %o{i} = getelementptr {v}, ptr %out, i64 %q{i}\n"
        f"  store {v} %l{i}, ptr %o{i}, align {size}, !nontemporal !0"
        for i in numbers
    )
    fold = "\n".join(
        f"  %s{i} = fadd {v} {'%b0' if i == 1 else f'%s{i - 1}'}, %b{i}" for i in range(1, k)
    )
    counter = "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]"
    end = "  %more = icmp ult i64 %next, %n\n  br i1 %more, label %loop, label %done"
    tail = f"{fold}\n  store {v} %s{k - 1}, ptr %out, align 4\n  ret void\n}}"
    return f"""
declare {v} @llvm.fma({v}, {v}, {v})
define void @fma(ptr %out, ptr %in, i64 %n) {{
entry:
  %x = load {v}, ptr %in, align 4
  %p = getelementptr {v}, ptr %in, i64 1
  %y = load {v}, ptr %p, align 4
  br label %loop
loop:
{counter}
{fma_phi}
{fma}
  %next = add i64 %i, 1
{end}
done:
{tail}
define void @read(ptr %out, ptr %x, i64 %n) {{
entry:
  br label %loop
loop:
{counter}
{fma_phi}
{load}
  %next = add i64 %i, {k}
{end}
done:
{tail}
define void @copy(ptr %out, ptr %x, i64 %n) {{
entry:
  br label %loop
loop:
{counter}
{move}
  %next = add i64 %i, {k}
{end}
done:
  fence seq_cst
  ret void
}}
!0 = !{{i32 1}}
"""


def compiled(lanes: int):
    """(engine, functions by name); the engine must outlive the functions."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    module = llvm.parse_assembly(source(lanes))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return engine, {
        name: kind(engine.get_function_address(name)) for name in ("fma", "read", "copy")
    }


def aligned(nbytes: int) -> np.ndarray:
    """float32 ones at a 64-byte boundary, touched."""
    raw = np.ones(nbytes // 4 + 16, np.float32)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + nbytes // 4]


def measure(threads: int, quick: bool = False) -> Floor:
    """Runs each loop on `threads` threads at once; medians of seven."""
    lanes = vector_lanes()
    engine, function = compiled(lanes)
    part = BYTES // threads // (4 if quick else 1)
    vectors = part // (4 * lanes) // ACCUMULATORS * ACCUMULATORS
    moved = vectors * 4 * lanes
    rounds = FMA_ROUNDS // (4 if quick else 1)
    sources = [aligned(part) for _ in range(threads)]
    targets = [aligned(part) for _ in range(threads)]

    def seconds(name: str, count: int) -> float:
        def one(i: int) -> None:
            function[name](targets[i].ctypes.data, sources[i].ctypes.data, count)

        taken = []
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(threads)))
            for _ in range(REPEATS):
                start = time.perf_counter()
                list(pool.map(one, range(threads)))
                taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    floor = Floor(
        threads,
        read=threads * moved / seconds("read", vectors),
        copy=2 * threads * moved / seconds("copy", vectors),
        flops=threads * rounds * ACCUMULATORS * lanes * 2 / seconds("fma", rounds),
    )
    del engine
    return floor
