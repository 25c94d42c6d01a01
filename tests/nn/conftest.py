"""Every test of charl.nn runs interpreted and as machine code: each function is run once, and first runs
are interpreted.
"""

import pytest

import charl as ch


@pytest.fixture(autouse=True, params=["interp", "llvm"])
def backend(request):
    with ch.config(backend=request.param):
        yield
