"""What is installed, and which charl is found from the root of a clone."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np
import pytest

import charl as ch

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(ch.__file__).parent


@pytest.fixture
def clone(tmp_path):
    """A folder with the Python of charl/ in it, as git has it: nothing compiled."""
    for path in (ROOT / "charl").rglob("*.py"):
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return tmp_path


def python(*arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = (
        str(PACKAGE.parent) if PACKAGE.parent.name != "site-packages" else ""
    )
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_version_is_the_distributions():
    assert ch.__version__ == version("charl")


def test_the_console_script_is_the_command_line():
    (script,) = [e for e in entry_points(group="console_scripts") if e.name == "charl"]
    assert script.value == "charl.cli:main"


@pytest.mark.parametrize("name", ["py.typed", "__init__.pyi", "data/digits.npz", "data/DIGITS.md"])
def test_data_is_installed(name):
    assert (PACKAGE / name).is_file()


def test_the_digits_are_whole():
    with np.load(PACKAGE / "data" / "digits.npz") as arrays:
        x, y = arrays["X"], arrays["y"]
    assert x.shape == (1797, 64) and x.dtype == np.uint8 and x.min() == 0 and x.max() == 16
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_from_an_uncompiled_tree_the_installed_package_is_used(clone):
    done = python(
        "-c",
        "import charl; print(charl.__file__); print(float(charl.sum(charl.ones(3))))",
        cwd=clone,
    )
    assert done.returncode == 0, done.stderr
    where, value = done.stdout.split()
    assert Path(where).parent.samefile(PACKAGE) and value == "3.0"


def test_python_m_charl_from_an_uncompiled_tree(clone):
    done = python("-m", "charl", "--version", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"charl {ch.__version__}\n"


def test_an_uncompiled_tree_alone_says_what_to_do(clone):
    done = python("-S", "-E", "-c", "import charl", cwd=clone)  # no site-packages
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: charl: this source tree is not compiled; run `pip install .` in its root"
    )


def test_llvmlite_and_wgpu_are_loaded_on_first_use():
    code = "import sys, charl; print([m for m in ('llvmlite', 'wgpu') if m in sys.modules])"
    done = python("-c", code, cwd=ROOT.parent)
    assert done.stdout == "[]\n", done.stderr
