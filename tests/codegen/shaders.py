"""Runs shaders on an adapter, straight through wgpu, between guard bytes."""

import functools
import os
import tempfile

import numpy as np
import pytest

from charl.codegen.wgsl import Features

GUARD = 256


@functools.cache
def device():
    """(device, Features) of the first Vulkan adapter: its own, or else software. Skips where there
    is none.
    """
    wgpu = pytest.importorskip("wgpu")
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    adapters = [a for a in wgpu.gpu.enumerate_adapters_sync() if a.info["backend_type"] != "OpenGL"]
    if not adapters:
        pytest.skip("no GPU adapter: mesa-vulkan-drivers gives one in software")
    adapter = adapters[0]
    names = {
        "f64": "shader-f64",
        "i64": "shader-int64",
        "f16": "shader-f16",
        "subgroup": "subgroup",
    }
    have = {short: name in adapter.features for short, name in names.items()}
    most = "max-storage-buffers-per-shader-stage"
    device = adapter.request_device_sync(
        required_features=[name for short, name in names.items() if have[short]],
        required_limits={most: adapter.limits[most]},
    )
    return device, Features(**have, max_storage_buffers=adapter.limits[most])


@functools.lru_cache(512)
def pipeline(shader):
    """The shader compiled; raises what wgpu does not accept."""
    dev, _ = device()
    module = dev.create_shader_module(code=shader.text)
    return dev.create_compute_pipeline(
        layout="auto", compute={"module": module, "entry_point": "main"}
    )


def run(shader, kernel, arrays, params, wide=65535, part=None):
    """Runs a shader on guarded copies of the arrays: (arrays, error or None). Of a buffer in parts,
    a binding has `part` bytes.
    """
    import wgpu

    dev, _ = device()
    groups = shader.groups(params)
    words = np.array([groups, 0, *np.array(params, "i8").view("u4")], "u4")
    content = {"params": words.tobytes(), "error": bytes(24)}
    content["scratch"] = bytes(max(16, shader.scratch_bytes(params)))
    for k, a in enumerate(arrays):
        room = -a.nbytes % 4
        content[f"a{k}"] = np.ascontiguousarray(a).tobytes() + b"\xa5" * (room + GUARD)
    usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC
    made = {
        name: dev.create_buffer_with_data(data=content[name], usage=usage)
        for name in {binding.split("_")[0] for binding in shader.bindings}
    }
    if groups:
        compiled = pipeline(shader)
        used = []
        for k, binding in enumerate(shader.bindings):
            name, _, at = binding.partition("_")
            whole = {"buffer": made[name]}
            if at:
                first = int(at) * part
                size = min(part, made[name].size - first)
                whole = {"buffer": made[name], "offset": first, "size": size}
            used.append({"binding": k, "resource": whole})
        layout = compiled.get_bind_group_layout(0)
        bound = dev.create_bind_group(layout=layout, entries=used)
        encoder = dev.create_command_encoder()
        with_pass = encoder.begin_compute_pass()
        with_pass.set_pipeline(compiled)
        with_pass.set_bind_group(0, bound)
        x = min(groups, wide)
        with_pass.dispatch_workgroups(x, -(-groups // x))
        with_pass.end()
        dev.queue.submit([encoder.finish()])
    out = []
    for k, a in enumerate(arrays):
        got = a.copy()
        if f"a{k}" in made:
            memory = np.frombuffer(dev.queue.read_buffer(made[f"a{k}"]), np.uint8)
            assert (memory[a.nbytes :] == 0xA5).all(), f"a{k}: wrote past the end"
            got = memory[: a.nbytes].view(a.dtype)
        out.append(got)
    error = None
    if "error" in made:
        memory = dev.queue.read_buffer(made["error"])
        flag, site = np.frombuffer(memory, "i4", 2)
        index, extent = np.frombuffer(memory, "i8", 2, 8)
        error = (int(site), int(index), int(extent)) if flag else None
    for buffer in made.values():
        buffer.destroy()
    return out, error


def ulps(got, want):
    """The distance of floats in units in the last place; 0 for two NaNs, inf for one."""
    whole = np.dtype(f"i{got.dtype.itemsize}")
    least = np.iinfo(whole).min
    a, b = (np.where(x.view(whole) < 0, least - x.view(whole), x.view(whole)) for x in (got, want))
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.maximum(a, b).astype("i8") - np.minimum(a, b)
        none = (got != got).astype("i1") + (want != want)
    apart = np.where(distance < 0, np.inf, distance.astype("f8"))
    return np.where(none == 2, 0.0, np.where(none == 1, np.inf, apart))
