"""Hypothesis profiles and the settings of every test: HYPOTHESIS_PROFILE=ci runs more examples than
dev. Tests marked `cpu` run on the cpu, whatever the default device is. Without llvmlite, tests that
ask for machine code are skipped.
"""

import importlib.util
import os
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

import charl as ch
from charl.core.errors import BackendUnavailable

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None, max_examples=50, suppress_health_check=_SLOW)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=300,
    suppress_health_check=_SLOW,
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if item.get_closest_marker("cpu") is None:
        return (yield)
    with ch.config(default_device="cpu"), mock.patch.dict(os.environ, CHARL_DEFAULT_DEVICE="cpu"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except BackendUnavailable as error:
        if "llvmlite" in str(error) and importlib.util.find_spec("llvmlite") is None:
            pytest.skip("llvmlite is not installed")
        raise
