"""The calls of wgpu that small work is made of, straight to its C library: wgpu-py's ways around them
take 3 us each. Errors in them show when the pass ends. Where wgpu-py has changed, its own are used.
"""

from __future__ import annotations

from typing import Any


class Plain:
    """By wgpu-py's public methods."""

    def pipeline(self, run: Any, compute: Any) -> None:
        """Says which kernel the next dispatches of a compute pass run."""
        run.set_pipeline(compute)

    def dispatch(self, run: Any, group: Any, x: int, y: int) -> None:
        """Adds a dispatch of x * y workgroups to a compute pass."""
        run.set_bind_group(0, group)
        run.dispatch_workgroups(x, y)

    def module(self, raw: Any, text: str) -> Any:
        """A shader module."""
        return raw.create_shader_module(code=text)


class Direct(Plain):
    """By its C library."""

    def __init__(self, native: Any):
        library = native.lib
        self._null = native.ffi.NULL
        self._set = library.wgpuComputePassEncoderSetPipeline
        self._bind = library.wgpuComputePassEncoderSetBindGroup
        self._dispatch = library.wgpuComputePassEncoderDispatchWorkgroups
        self._native = native
        self._create = native._api.libf.wgpuDeviceCreateShaderModuleTrusted
        self._made = native.GPUShaderModule

    def pipeline(self, run: Any, compute: Any) -> None:
        self._set(run._internal, compute._internal)

    def dispatch(self, run: Any, group: Any, x: int, y: int) -> None:
        handle = run._internal
        self._bind(handle, 0, group._internal, 0, self._null)
        self._dispatch(handle, x, y, 1)

    def module(self, raw: Any, text: str) -> Any:
        """Without counters in loops and comparisons of indices, which wgpu would write into it: our
        loops end, our indices of arrays are right, and Vulkan minds those of buffers.
        """
        if raw.adapter.info["backend_type"] != "Vulkan":
            return super().module(raw, text)
        ffi, library = self._native.ffi, self._native.lib
        data = text.encode()
        code = ffi.new("char[]", data)
        source = ffi.new("WGPUShaderSourceWGSL *")
        source.chain.sType = library.WGPUSType_ShaderSourceWGSL
        source.code.data, source.code.length = code, len(data)
        described = ffi.new("WGPUShaderModuleDescriptor *")
        described.nextInChain = ffi.cast("WGPUChainedStruct *", source)
        return self._made("", self._create(raw._internal, described, 0), raw)


def calls(wgpu: Any) -> Plain:
    """What this wgpu-py allows."""
    try:
        return Direct(wgpu.backends.wgpu_native)
    except AttributeError:
        return Plain()
