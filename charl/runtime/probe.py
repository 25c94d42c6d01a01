"""What an opened GPU can do at most, measured: bytes a second copied, multiply-adds a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from charl.runtime.device import Device, DeviceBuffer, Dispatch

THREADS = 256  # invocations of a workgroup
REPEATS = 9
ACCUMULATORS = 8  # vec4 sums of an invocation: more than the latency of an fma needs
FMA_THREADS = 1 << 20
LONG = 0.02  # seconds that a measured submit takes at least

_HEAD = """@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) many: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let at = (wid.y * many.x + wid.x) * 256u + lane;
  if (at >= arrayLength(&result)) { return; }
"""
_COPY = f"{_HEAD}  result[at] = source[at];\n}}\n"


def _fma_text() -> str:
    """Each invocation makes ACCUMULATORS sums; source holds their addends, then the rounds."""
    names = [f"s{k}" for k in range(ACCUMULATORS)]
    lines = ["  let x = source[0];", "  let y = source[1];"]
    lines += [f"  var {name} = source[{k}] + f32(at);" for k, name in enumerate(names)]
    lines.append(f"  let rounds = bitcast<u32>(source[{ACCUMULATORS}].x);")
    lines.append("  for (var i = 0u; i < rounds; i += 1u) {")
    lines += [f"    {name} = fma({name}, x, y);" for name in names]
    return "\n".join([_HEAD, *lines, "  }", f"  result[at] = {' + '.join(names)};", "}", ""])


def _seconds(device: Device, dispatch: Dispatch, times: int = 1) -> float:
    """Of one dispatch among so many in a submit, and all of them done."""
    start = time.perf_counter()
    device.submit([dispatch] * times)
    device.synchronize()
    return (time.perf_counter() - start) / times


def _least(seconds: Callable[[], float], warm: float) -> float:
    """Of nine, after so many seconds of work: an idle device takes a second or two to speed up."""
    until = time.perf_counter() + warm
    while time.perf_counter() < until:
        seconds()
    return min(seconds() for _ in range(REPEATS))


def _buffer(device: Device, nbytes: int) -> DeviceBuffer:
    """Of ones half: sums stay finite, and pages are there."""
    made = device.allocate(nbytes)
    device.upload(made, b"\0\0\0\x3f" * (nbytes // 4))
    return made


def copy_bandwidth(device: Device, nbytes: int = 64 << 20, warm: float = 0.05) -> float:
    """Bytes a second, read and written together, of a kernel that copies nbytes (a multiple of 16)
    to another place; fewer where the device binds fewer. The best of nine.
    """
    nbytes = min(nbytes, device.caps.part)
    buffers = _buffer(device, nbytes), _buffer(device, nbytes)
    work = Dispatch(device.pipeline(_COPY), buffers, -(-nbytes // (16 * THREADS)))
    times = max(1, round(LONG / max(_seconds(device, work), _seconds(device, work), 1e-6)))
    return 2 * nbytes / _least(lambda: _seconds(device, work, times), warm)


def fma_peak(device: Device, seconds: float = LONG, warm: float = 0.05) -> float:
    """float32 operations a second, an fma counting as two. The best of nine."""
    source, target = _buffer(device, 16 * (ACCUMULATORS + 1)), device.allocate(16 * FMA_THREADS)
    work = Dispatch(device.pipeline(_fma_text()), (source, target), FMA_THREADS // THREADS)
    rounds = 16
    while True:
        device.upload(source, rounds.to_bytes(4, "little"), 16 * ACCUMULATORS)
        _seconds(device, work)
        if _seconds(device, work) >= seconds:
            break
        rounds *= 2
    made = 2 * 4 * ACCUMULATORS * rounds * FMA_THREADS
    return made / _least(lambda: _seconds(device, work), warm)
