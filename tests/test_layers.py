"""The floors of the house: a module imports strictly lower ones. Reads imports of .py, .pyx and
.pxd.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOP = 9  # what uses only the public namespace
FLOORS = {
    "core": 0,
    "ops": 1,
    "graph": 2,
    "schedule": 3,
    "codegen": 4,
    "engine": 5,
    "tensor": 6,
    "api": 7,
    "nn": TOP,
    "optim": TOP,
    "inspect": 10,  # looks into every floor, and is run by the command line
    "cli": TOP,
    "demo": TOP,
    "__main__": TOP,
    "": TOP,  # charl itself: the public namespace
    "_locate": -1,  # runs before the package is there: imports nothing of it
}
WING = "runtime"  # beside the floors: imports core, is imported by the engine
NUMPY = {"api", "tensor", "demo", "inspect"}
# Looked up only when asked for: interoperation with dtypes of NumPy and ml_dtypes, a clone's hash.
LATE = {("core/dtypes.py", "numpy"), ("core/dtypes.py", "ml_dtypes"), ("ops/loops.py", "zlib")}
HEAVY = {"runtime/jit.py": "llvmlite", "runtime/gpu.py": "wgpu"}
SOURCES = sorted(
    path for end in ("py", "pyx", "pxd") for path in (ROOT / "charl").rglob(f"*.{end}")
)
CYTHON_IMPORT = re.compile(
    r"^([ \t]*)(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+\(?([^#\n]*)|c?import[ \t]+([^#\n]*))", re.M
)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(dotted module, whether it stands within a function) of each import; `from m import a` gives
    m.a.
    """
    text = path.read_text()
    found = []
    if path.suffix == ".py":
        tree = ast.parse(text)
        inner = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, id(node) in inner) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                found += [
                    (f"{node.module}.{alias.name}", id(node) in inner) for alias in node.names
                ]
        return found
    for indent, module, names, plain in CYTHON_IMPORT.findall(text):
        if module:
            named = [name.split()[0] for name in names.rstrip(" \\").split(",") if name.split()]
            found += [(f"{module}.{name.strip('()')}", bool(indent)) for name in named or ["*"]]
        else:
            found += [(name.split()[0], bool(indent)) for name in plain.split(",") if name.split()]
    return found


def room(dotted: str) -> str:
    """The room of charl.x.y: x; of charl.name (a public name), the top."""
    part = dotted.split(".")[1] if "." in dotted else ""
    return part if part in FLOORS or part == WING else ""


def room_of(path: Path) -> str:
    name = path.relative_to(ROOT / "charl").parts[0].split(".")[0]
    return "" if name == "__init__" else name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_arrow_runs_up(path):
    here = room_of(path)
    for dotted, _ in imports(path):
        if dotted.split(".")[0] != "charl":
            continue
        there = room(dotted)
        if there == here:
            continue
        if here == WING:
            assert there == "core", f"runtime imports {dotted}; it may import core only"
        elif there == WING:
            assert here == "engine", f"{here} imports {dotted}; only the engine may"
        elif there == "_locate":
            assert here == ""
        elif here == "":
            assert there in ("api", "core", "tensor"), f"charl/__init__ imports {dotted}"
        elif FLOORS[here] == TOP:
            assert FLOORS[there] >= TOP, f"{here} imports {dotted}; it uses the public namespace"
        else:
            assert FLOORS[there] < FLOORS[here], f"{here} imports {dotted}: the arrow runs up"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_numpy_and_heavy_imports_stand_where_they_may(path):
    name = path.relative_to(ROOT / "charl").as_posix()
    for dotted, late in imports(path):
        base = dotted.split(".")[0]
        if (name, base) in LATE:
            assert late, f"{name}: {base} is looked up only when asked for"
            continue
        if base in ("numpy", "ml_dtypes"):
            assert room_of(path) in NUMPY, f"{name} imports {base}"
        if base in ("llvmlite", "wgpu"):
            assert HEAVY.get(name) == base and late, f"{name} imports {base}"
        elif late and path.suffix == ".py":
            pytest.fail(f"{name} imports {dotted} within a function")


def test_the_build_can_load_ops_without_compiled_modules():
    for path in SOURCES:
        if room_of(path) == "ops":
            assert path.suffix == ".py"
            for dotted, _ in imports(path):
                assert dotted.split(".")[0] != "charl" or room(dotted) in ("ops", "core"), dotted
