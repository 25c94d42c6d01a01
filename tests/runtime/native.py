"""Calls charl's C functions as other extension modules do: through what Cython exports."""

import ctypes

_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def c_function(module, name, prototype):
    """The function `name` that `module` exports to Cython, as a ctypes prototype."""
    capsule = module.__pyx_capi__[name]
    return prototype(_pointer(capsule, _name(capsule)))


class Error(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("site", "index", "extent")]


class Launch(ctypes.Structure):
    """charl_launch_t of csrc/charl.h."""

    _fields_ = [
        ("buffers", ctypes.c_void_p),
        ("params", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("code", ctypes.c_void_p),
        ("error", Error),
        ("scratch_bytes", ctypes.c_int64),
        ("abi", ctypes.c_int32),
        ("thread", ctypes.c_int32),
        ("nthreads", ctypes.c_int32),
        ("backward", ctypes.c_int32),
    ]


KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(Launch), ctypes.c_int64, ctypes.c_int64)
PARALLEL = ctypes.CFUNCTYPE(
    ctypes.c_int32, KERNEL, ctypes.POINTER(Launch), ctypes.c_int64, ctypes.c_int32
)
