"""Names of the namespace that are loaded when they are first asked for."""

import colorsys
import inspect
import json
import pickle
import subprocess
import sys
from types import ModuleType

import pytest

import charl as ch
from charl.core import lazy


def fresh():
    """A package with a function and a module of the standard library that stand-ins stand for."""
    package = {"__name__": "package", "here": 1}
    lazy.members(package, {"dumps": ("json", "dumps"), "colorsys": ("colorsys",)})
    return package


def test_importing_charl_loads_none_of_them():
    code = "import charl, sys; print(*(m for m in sys.modules if m.startswith('charl.')))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "charl.tensor" in loaded.stdout.split()
    assert not {"charl.nn", "charl.api.random", "charl.api.io"} & set(loaded.stdout.split())


def test_a_function_is_called_asked_about_and_replaced():
    package = fresh()
    stand_in = package["dumps"]
    assert package["__all__"] == ["here", "dumps", "colorsys"]
    assert stand_in([1]) == "[1]" and package["dumps"] is not stand_in
    assert package["dumps"] is json.dumps
    stand_in = fresh()["dumps"]
    assert inspect.signature(stand_in) == inspect.signature(json.dumps)
    assert stand_in.__name__ == "dumps" and stand_in.__doc__ == json.dumps.__doc__
    assert pickle.loads(pickle.dumps(stand_in)) is json.dumps
    with pytest.raises(AttributeError, match="nothing"):
        _ = fresh()["dumps"].nothing


def test_a_module_has_its_names_when_asked():
    stand_in = fresh()["colorsys"]
    assert isinstance(stand_in, ModuleType) and stand_in.__name__ == "colorsys"
    assert stand_in.rgb_to_hsv is colorsys.rgb_to_hsv
    assert stand_in.__doc__ == colorsys.__doc__ == fresh()["colorsys"].__doc__
    assert set(dir(fresh()["colorsys"])) == set(dir(colorsys))
    with pytest.raises(AttributeError, match="nothing"):
        _ = stand_in.nothing


def test_charl_has_no_getattr():
    """With one, each name of it would be looked up anew at every use."""
    assert not hasattr(ch, "__getattr__")
    with pytest.raises(AttributeError, match="module 'charl' has no attribute 'nothing'"):
        _ = ch.nothing
