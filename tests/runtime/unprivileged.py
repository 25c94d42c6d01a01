"""Code without root's right to write everywhere: tests of file modes hold for root, too."""

import ctypes
import os
import sys
import threading

import pytest

_VERSION_3 = (
    0x20080522  # of Linux's capset: a header, then effective, permitted, inheritable, twice
)


def give_up_privileges() -> None:
    """For the rest of the calling thread, and of threads that it starts, file modes bind root."""
    if os.geteuid() != 0:
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root may write everywhere")
    header, none = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def as_owner(function):
    """What function() returns in a thread that may do what its user may, and no more."""
    results = []

    def work():
        give_up_privileges()
        results.append(function())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]
