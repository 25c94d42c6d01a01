"""Shaders of Kernels: in memory, on disk, or emitted; and what CHARL_DEBUG shows of their runs.

Called with the engine lock held.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict

from charl import codegen, runtime
from charl.core.errors import InternalError
from charl.core.settings import config
from charl.engine import tiers

counts = {"shaders": 0, "shader_disk_hits": 0}  # emitted, and found on disk
_kept: OrderedDict[tuple, Shaded] = OrderedDict()  # by kernel text, features, what suits sizes
_probed: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # device -> its Features
_told: weakref.WeakSet = weakref.WeakSet()  # devices without timestamps


class Shaded:
    """A kernel's shader for a device's features and tiling, or in `refusal` why there is none."""

    def __init__(self, text, shader, refusal=None):
        self.text, self.shader, self.refusal = text, shader, refusal


def shaded(kernel, device, params, parts) -> Shaded:
    """The Shaded of a Kernel, for these launch parameters, and buffers bound in so many parts."""
    suited = (*codegen.wgsl.suited(kernel, params, codegen.wgsl.Tiling(*device.tiling)), parts)
    key = str(kernel), features(device), suited
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = _made(kernel, *key)
        if found.shader is not None and (config.debug >= 4 or config.dump):
            tiers.show(found.shader.text)
    _kept.move_to_end(key)
    while len(_kept) > config.kernel_cache:
        _kept.popitem(last=False)
    return found


def features(device):
    """A device's Features: what it says that it has, less what a first small dispatch shows."""
    found = _probed.get(device)
    if found is None:
        found = _probed[device] = _probe(device, codegen.wgsl.Features(*device.caps))
    return found


def _probe(device, claimed):
    counters = dict(device.counters)
    try:
        pipeline = device.pipeline(codegen.wgsl.probe(claimed).text)
    except InternalError:  # a driver that does not even take this
        return claimed._replace(subgroup=False)
    params, words = device.allocate(8), device.allocate(24)
    device.upload(params, (1).to_bytes(8, "little"))
    device.upload(words, codegen.wgsl_probe.START)
    device.submit([runtime.device.Dispatch(pipeline, (params, words), 1)])
    got = bytearray(24)
    device.read(words, got)
    device.counters.update(counters)
    return codegen.wgsl_probe.probed(claimed, memoryview(got).cast("I").tolist())


def _made(kernel, text, features, suited) -> Shaded:
    """From disk, or emitted: that takes two to fifty times as long as reading it."""
    cache, name = runtime.diskcache.current(), ""
    if cache is not None:
        lanes, tiling, vectors, *others = suited
        form = repr((tuple(features), lanes, tuple(tiling), sorted(vectors), others))
        name = runtime.diskcache.key_of("wgsl", text, form, runtime.diskcache.fingerprint())
        data = cache.get(name)
        if data is not None:
            counts["shader_disk_hits"] += 1
            return Shaded(text, codegen.wgsl_store.unpack(data))
    counts["shaders"] += 1
    try:
        shader = codegen.wgsl.emit(kernel, features, *suited)
    except codegen.wgsl.Unsupported as error:
        return Shaded(text, None, error)
    if cache is not None:
        cache.put(name, codegen.wgsl_store.pack(shader))
    return Shaded(text, shader)


# CHARL_DEBUG


def submit(device, work) -> None:
    """Hands work to a device. Under CHARL_DEBUG it is awaited, and each dispatch is shown with its
    time, the bytes of what it binds, and the share of the device's copy bandwidth that this is.
    """
    if not config.debug:
        device.submit(work)
        return
    clock = _clock(device)
    if clock is None:
        device.submit(work)
        seconds = iter(())
    else:
        seconds = iter(clock.run(work))
    for item in work:
        if isinstance(item, runtime.device.Copy):
            tiers.show(f"copy {item.source.nbytes:,} bytes on {device.name}")
            continue
        nbytes = sum(buffer.nbytes for buffer in item.buffers[1:])  # the first one holds parameters
        line = f"dispatch {item.groups} workgroups on {device.name}, {nbytes:,} bytes"
        taken = next(seconds, 0.0)
        if taken:
            line += f", {taken * 1e6:.1f} us"
            if clock.bandwidth:
                line += f", {nbytes / taken / clock.bandwidth:.0%} of the copy bandwidth"
        tiers.show(f"{line}\n{item.kernel}")


def _clock(device):
    """The Clock of a device, or None where it has no timestamps, which is said once."""
    clock = runtime.clock.of(device)
    if clock is None and device not in _told:
        _told.add(device)
        tiers.show(f"{device.name} has no timestamps: dispatches are shown without their time")
    return clock
