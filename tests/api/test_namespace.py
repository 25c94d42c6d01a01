"""The namespace holds every name of the array API standard 2025.12 but the complex dtypes, with its
signature.
"""

import ast
import inspect
from pathlib import Path

import pytest

import charl as ch
from tests import device

# name: parameters of the standard; / and * as in a signature
STANDARD = {
    # creation
    "arange": "start, /, stop=None, step=1, *, dtype=None, device=None",
    "asarray": "obj, /, *, dtype=None, device=None, copy=None",
    "empty": "shape, *, dtype=None, device=None",
    "empty_like": "x, /, *, dtype=None, device=None",
    "eye": "n_rows, n_cols=None, /, *, k=0, dtype=None, device=None",
    "from_dlpack": "x, /, *, device=None, copy=None",
    "full": "shape, fill_value, *, dtype=None, device=None",
    "full_like": "x, /, fill_value, *, dtype=None, device=None",
    "linspace": "start, stop, /, num, *, dtype=None, device=None, endpoint=True",
    "meshgrid": "*arrays, indexing='xy'",
    "ones": "shape, *, dtype=None, device=None",
    "ones_like": "x, /, *, dtype=None, device=None",
    "tril": "x, /, *, k=0",
    "triu": "x, /, *, k=0",
    "zeros": "shape, *, dtype=None, device=None",
    "zeros_like": "x, /, *, dtype=None, device=None",
    # data types
    "astype": "x, dtype, /, *, copy=True, device=None",
    "can_cast": "from_, to, /",
    "finfo": "type, /",
    "iinfo": "type, /",
    "isdtype": "dtype, kind",
    "result_type": "*arrays_and_dtypes",
    # indexing, linear algebra
    "take": "x, indices, /, *, axis=None",
    "take_along_axis": "x, indices, /, *, axis=-1",
    "matmul": "x1, x2, /, *, dtype=None",
    "matrix_transpose": "x, /",
    "tensordot": "x1, x2, /, *, axes=2",
    "vecdot": "x1, x2, /, *, axis=-1",
    # manipulation
    "broadcast_arrays": "*arrays",
    "broadcast_shapes": "*shapes",
    "broadcast_to": "x, /, shape",
    "concat": "arrays, /, *, axis=0",
    "expand_dims": "x, /, axis",
    "flip": "x, /, *, axis=None",
    "moveaxis": "x, source, destination, /",
    "permute_dims": "x, /, axes",
    "repeat": "x, repeats, /, *, axis=None",
    "reshape": "x, /, shape, *, copy=None",
    "roll": "x, /, shift, *, axis=None",
    "squeeze": "x, /, axis",
    "stack": "arrays, /, *, axis=0",
    "tile": "x, repetitions, /",
    "unstack": "x, /, *, axis=0",
    # searching, sets, sorting
    "argmax": "x, /, *, axis=None, keepdims=False",
    "argmin": "x, /, *, axis=None, keepdims=False",
    "count_nonzero": "x, /, *, axis=None, keepdims=False",
    "nonzero": "x, /",
    "searchsorted": "x1, x2, /, *, side='left', sorter=None",
    "where": "condition, x1, x2, /",
    "isin": "x1, x2, /, *, invert=False",
    "unique_all": "x, /",
    "unique_counts": "x, /",
    "unique_inverse": "x, /",
    "unique_values": "x, /",
    "argsort": "x, /, *, axis=-1, descending=False, stable=True",
    "sort": "x, /, *, axis=-1, descending=False, stable=True",
    # statistics, utilities
    "cumulative_prod": "x, /, *, axis=None, dtype=None, include_initial=False",
    "cumulative_sum": "x, /, *, axis=None, dtype=None, include_initial=False",
    "max": "x, /, *, axis=None, keepdims=False",
    "mean": "x, /, *, axis=None, keepdims=False",
    "min": "x, /, *, axis=None, keepdims=False",
    "prod": "x, /, *, axis=None, dtype=None, keepdims=False",
    "std": "x, /, *, axis=None, correction=0.0, keepdims=False",
    "sum": "x, /, *, axis=None, dtype=None, keepdims=False",
    "var": "x, /, *, axis=None, correction=0.0, keepdims=False",
    "all": "x, /, *, axis=None, keepdims=False",
    "any": "x, /, *, axis=None, keepdims=False",
    "diff": "x, /, *, axis=-1, n=1, prepend=None, append=None",
    "clip": "x, /, min=None, max=None",
    "__array_namespace_info__": "",
}
UNARY = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_invert",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "floor",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "negative",
    "positive",
    "real",
    "reciprocal",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "square",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]
BINARY = [
    "add",
    "atan2",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "copysign",
    "divide",
    "equal",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "nextafter",
    "not_equal",
    "pow",
    "remainder",
    "subtract",
]
STANDARD |= dict.fromkeys(UNARY, "x, /") | dict.fromkeys(BINARY, "x1, x2, /")
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)


@pytest.mark.parametrize("name", STANDARD)
def test_signature(name):
    signature = inspect.signature(getattr(ch, name))
    bare = signature.replace(return_annotation=inspect.Signature.empty)
    assert str(bare) == f"({STANDARD[name]})"
    assert getattr(ch, name).__doc__


def test_constants_and_dtypes():
    for name in CONSTANTS:
        assert hasattr(ch, name)
    for name in (*DTYPES, "float16", "bfloat16"):
        assert getattr(ch, name).name == name
    assert ch.zeros(1).__array_namespace__() is ch


def test_info():
    info = ch.__array_namespace_info__()
    assert set(info.dtypes(device="cpu")) == set(DTYPES)
    assert set(info.dtypes(kind="integral")) == {n for n in DTYPES if "int" in n}
    floats = {"bool", "float32", device.FLOAT.name}
    assert set(info.dtypes(kind=("bool", "real floating"))) == floats
    assert info.default_dtypes(device="cpu")["real floating"] == ch.float64
    assert info.default_device() in info.devices()
    assert info.capabilities() == {
        "boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}  # fmt: skip


def test_complex_is_a_type_error():
    for make in (
        lambda: ch.asarray(1j),
        lambda: ch.asarray([1.0, 2j]),
        lambda: ch.zeros(2, dtype=complex),
        lambda: ch.full(2, 1j),
        lambda: ch.astype(ch.ones(2), "complex64"),
        lambda: ch.where(ch.asarray([True]), 1j, 0),
        lambda: ch.result_type(1j),
    ):
        with pytest.raises(TypeError, match="complex"):
            make()


STUB = ast.parse(Path(ch.__file__).with_name("__init__.pyi").read_text())


def bare(signature):
    """Names, kinds and defaults of the parameters, without types."""
    empty = inspect.Signature.empty
    parameters = [
        p.replace(annotation=empty)
        for p in signature.parameters.values()
        if p.name != "module"  # Cython's, of a C function
    ]
    return str(inspect.Signature(parameters))


def stubbed(function):
    """The same of a function of the stub."""
    made = ast.FunctionDef(function.name, function.args, [ast.Pass()], [], None)
    for argument in ast.walk(made):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    names = {}
    exec(compile(ast.fix_missing_locations(ast.Module([made], [])), "stub", "exec"), names)
    return bare(inspect.signature(names[function.name]))


@pytest.mark.parametrize(
    "function", [f for f in STUB.body if isinstance(f, ast.FunctionDef)], ids=lambda f: f.name
)
def test_stub_of_a_function(function):
    assert stubbed(function) == bare(inspect.signature(getattr(ch, function.name)))


def test_stubs_name_all_there_is():
    (tensor,) = [c for c in STUB.body if isinstance(c, ast.ClassDef) and c.name == "Tensor"]
    named = {f.name for f in tensor.body if isinstance(f, ast.FunctionDef)}
    x = ch.ones((2, 2))
    public = {name for name in dir(x) if not name.startswith("_")}
    assert public <= named
    assert all(hasattr(x, name) for name in named if name != "__buffer__")
    there = {getattr(node, "name", "") for node in STUB.body}
    there |= {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}
    for name, thing in vars(ch).items():
        if not name.startswith("_") and not inspect.ismodule(thing):
            assert name in there, name
