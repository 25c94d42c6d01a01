"""bfloat16 through DLPack, which NumPy's own __dlpack__ refuses."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

import charl as ch

BFLOAT = 4


class Producer:
    """What is no Tensor, so that a capsule is really taken."""

    def __init__(self, tensor, versioned=True):
        self.tensor, self.versioned = tensor, versioned

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, max_version=None, **options):
        return self.tensor.__dlpack__(max_version=max_version if self.versioned else None)


def dtype_of(capsule):
    """(code, bits, lanes) of an unversioned capsule."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    at = get(capsule, b"dltensor") + 20  # data, device, ndim
    code, bits = (ctypes.c_uint8 * 2).from_address(at)
    return code, bits, ctypes.c_uint16.from_address(at + 2).value


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_there_and_back(shape, versioned):
    array = (np.arange(np.prod(shape, dtype=int)) / 3).reshape(shape).astype(ml_dtypes.bfloat16)
    x = ch.asarray(array)
    back = ch.from_dlpack(Producer(x, versioned))
    assert back.dtype == ch.bfloat16 and back.shape == shape
    assert np.array_equal(back.numpy().view(np.uint16), array.view(np.uint16))


def test_the_dtype_is_bfloats():
    assert dtype_of(ch.ones(2, dtype=ch.bfloat16).__dlpack__()) == (BFLOAT, 16, 1)
    assert dtype_of(ch.ones(2, dtype=ch.float16).__dlpack__()) == (2, 16, 1)


def test_memory_is_shared_or_copied_as_asked():
    x = ch.ones(4, dtype=ch.bfloat16)
    address = x.numpy().__array_interface__["data"][0]
    shared = ch.from_dlpack(Producer(x)).numpy().__array_interface__["data"][0]
    copied = ch.from_dlpack(Producer(x), copy=True).numpy().__array_interface__["data"][0]
    assert shared == address != copied


def test_what_is_no_capsule():
    class Wrong:
        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, **options):
            return object()

    with pytest.raises(BufferError, match="capsule"):
        ch.from_dlpack(Wrong())
