"""Matrix products to the bit, against C that sums by the letter of kernel.py.

Operands lie against pages that cannot be read; around outputs nothing may change.
"""

import ctypes
import itertools
import mmap
import shutil
import subprocess
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from charl.codegen import llvm
from charl.codegen.host import Host
from charl.codegen.micro import SHAPES, tile_of
from charl.core.dtypes import BY_SHORT
from charl.runtime import jit
from charl.schedule.kernel import (
    KC,
    PACK_I,
    TILE_I,
    TILE_J,
    Access,
    Arg,
    Axis,
    Contract,
    Digits,
    Instr,
    P,
    verify,
)
from tests.codegen.machine import Launch, build

TYPES = {"f32": np.float32, "f64": np.float64}
SHORT = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bool": "b1", "int64": "i64", "int8": "i8",
    "int32": "i32", "uint32": "u32", "uint64": "u64",
}  # fmt: skip
MACHINE = Host(*jit.machine())
# this machine's vectors and all narrower ones; "plain" has neither masks nor gathers
HOSTS = {str(b): MACHINE._replace(vector_bytes=b) for b in SHAPES if b <= MACHINE.vector_bytes}
HOSTS["plain"] = MACHINE._replace(vector_bytes=16, features="", f16c=False)
PAGE = mmap.PAGESIZE
ROOM = 1 << 24

REFERENCE = """
#include <math.h>
#define PRODUCT(T, name, fma)                                                                   \\
    void name(const T *a, long ai, long ak, const T *b, long bk, long bj, T *c, long m, long n, \\
              long k) {                                                                         \\
        for (long i = 0; i < m; i++)                                                            \\
            for (long j = 0; j < n; j++) {                                                      \\
                T total = 0;                                                                    \\
                for (long start = 0; start < k; start += KC) {                                  \\
                    T sum = 0;                                                                  \\
                    for (long p = start; p < k && p < start + KC; p++)                          \\
                        sum = fma(a[i * ai + p * ak], b[p * bk + j * bj], sum);                 \\
                    total = start ? total + sum : sum;                                          \\
                }                                                                               \\
                c[i * n + j] = total;                                                           \\
            }                                                                                   \\
    }
PRODUCT(float, product_f32, fmaf)
PRODUCT(double, product_f64, fma)
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """product(a, b): sums in the documented order; a (m, k), b (k, n) are views of any strides."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the reference with")
    folder = tmp_path_factory.mktemp("reference")
    (folder / "reference.c").write_text(REFERENCE)
    flags = ["-O2", "-shared", "-fPIC", "-ffp-contract=off", f"-DKC={KC}"]
    command = [compiler, *flags, "reference.c", "-o", "reference.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "reference.so"))
    pointer, long = ctypes.c_void_p, ctypes.c_long
    for name in ("product_f32", "product_f64"):
        function = getattr(library, name)
        function.argtypes = [pointer, long, long, pointer, long, long, pointer, long, long, long]

    def product(a, b):
        (m, k), n = a.shape, b.shape[1]
        c = np.empty((m, n), a.dtype)
        strides = [[s // x.itemsize for s in x.strides] for x in (a, b)]
        function = getattr(library, f"product_{SHORT[a.dtype.name]}")
        function(a.ctypes.data, *strides[0], b.ctypes.data, *strides[1], c.ctypes.data, m, n, k)
        return c

    return product


def fenced(nbytes=ROOM):
    """Memory between two pages that cannot be touched."""
    memory = mmap.mmap(-1, nbytes + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for page in (start, start + PAGE + nbytes):
        assert protect(page, PAGE, 0) == 0
    return np.frombuffer(memory, np.uint8, nbytes, PAGE)


ROOMS = [fenced() for _ in range(5)]


def put(room, like, at_end=True):
    """A copy of an array, in C order, at one end of a fenced room."""
    room = ROOMS[room] if isinstance(room, int) else room
    place = room[len(room) - like.nbytes :] if at_end else room[: like.nbytes]
    copy = place.view(like.dtype).reshape(like.shape)
    copy[...] = like
    return copy


class Call:
    """A Contract over numpy views, and its launch. lhs (..., m, k), rhs (..., k, n): one batch.

    epilogue(call): the instructions after acc; `call.access(view, mode)` makes operands over
    (outer, i, j). Without one the sums are stored to `out`.
    """

    def __init__(self, lhs, rhs, out, epilogue=None):
        self.views, self.modes, self.params, self.out = [], [], [], out
        *batch, self.m, self.k = lhs.shape
        self.n, self.items = rhs.shape[-1], int(np.prod(batch))
        left = self.access(lhs, "in")
        right = self.access(rhs, "in")
        i, k = left.strides[-2:]
        left = left._replace(strides=(*left.strides[:-2], i, 0, k))
        k, j = right.strides[-2:]
        right = right._replace(strides=(*right.strides[:-2], 0, j, k))
        self.dtype = {"i8": "i32"}.get(SHORT[lhs.dtype.name], SHORT[lhs.dtype.name])
        acc = Instr("acc", self.dtype)
        body = epilogue(self) if epilogue else (self.store(out, 0),)
        self.contract = Contract(
            tuple(Arg(SHORT[v.dtype.name], mode) for v, mode in zip(self.views, self.modes)),
            tuple(Axis(self.number(extent)) for extent in batch),
            *(Axis(self.number(extent)) for extent in (self.m, self.n, self.k)),
            self.dtype, left, right, (acc, *body),
        )  # fmt: skip
        verify(self.contract)
        self.units = self.items * -(-self.m // TILE_I) * -(-self.n // TILE_J)

    def number(self, value):
        if value in (0, 1, -1):
            return value
        self.params.append(value)
        return P(len(self.params) - 1)

    def access(self, view, mode):
        """The view's strides, with an offset: its buffer begins three elements before it."""
        self.views.append(view)
        self.modes.append(mode)
        strides = (self.number(s // view.itemsize) for s in view.strides)
        return Access(len(self.views) - 1, self.number(3), tuple(strides))

    def load(self, view):
        return Instr("load", SHORT[view.dtype.name], (), self.access(view, "in"))

    def store(self, view, value, mode="out"):
        return Instr("store", SHORT[view.dtype.name], (value,), self.access(view, mode))

    def build(self, host, opt_level="less"):
        """ "less" compiles fastest."""
        text = llvm.emit(self.contract, host, "full")
        return build(text, opt_level)

    def __call__(self, kernel, cuts=(), threads=False):
        """Runs all units, cut at `cuts`."""
        ends = [*cuts, self.units]
        size = BY_SHORT[self.dtype].itemsize
        nbytes = ((KC + PACK_I) * TILE_J + KC * PACK_I + 4096) * size
        pointers = [v.ctypes.data - 3 * v.itemsize for v in self.views]
        buffers = (ctypes.c_void_p * len(pointers))(*pointers)
        params = (ctypes.c_int64 * max(1, len(self.params)))(*self.params)
        workers, scratches = [], []
        for begin, end in zip([0, *ends], ends):
            scratches.append(np.full(nbytes + 128, 0xFF, np.uint8))  # its floats are NaN
            start = -scratches[-1].ctypes.data % 64
            launch = Launch(buffers, params, scratches[-1].ctypes.data + start, None)
            arguments = (ctypes.byref(launch), begin, end)
            workers.append(threading.Thread(target=kernel, args=arguments))
            if not threads:
                assert kernel(*arguments) == 0
        for worker in workers if threads else ():
            worker.start()
        for worker in workers if threads else ():
            worker.join()
        for scratch in scratches:
            start = -scratch.ctypes.data % 64
            assert (scratch[:start] == 0xFF).all() and (scratch[start + nbytes :] == 0xFF).all()


def numbers(shape, dtype, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.standard_normal(shape).astype(dtype)


def same(a, b):
    whole = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[a.itemsize]
    return np.array_equal(a.view(whole), b.view(whole))


_kernels = {}


def kernel_of(call, host):
    """Compiled once for a text."""
    key = (str(call.contract), host)
    if key not in _kernels:
        _kernels[key] = call.build(HOSTS[host])
    return _kernels[key][0]


def margins(shape, dtype):
    """An output inside of a larger array, and that array."""
    around = np.full((shape[0] + 2, shape[1] + 40), 7, dtype)
    room = put(4, around)
    return room[1:-1, 20:-20], room


def check(product, a, b, host, cuts=(), threads=False):
    out, around = margins((a.shape[0], b.shape[1]), a.dtype)
    call = Call(a, b, out)
    call(kernel_of(call, host), [cut for cut in cuts if cut <= call.units], threads)
    assert same(out.copy(), product(a, b)), (a.shape, b.shape)
    out[...] = 7
    assert (around == 7).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("host", HOSTS)
def test_all_small_shapes(product, host, dtype):
    for m in range(1, 41):
        for n in range(1, 41):
            k = (m * 7 + n * 3) % 23 + 1
            a, b = numbers((m, k), dtype=TYPES[dtype]), numbers((k, n), TYPES[dtype], 1)
            check(product, put(0, a), put(1, b), host)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("k", [1, 2, KC - 1, KC, KC + 1, 2 * KC, 2 * KC + 37])
def test_blocks_of_k(product, k, dtype):
    for m, n in [(1, 1), (9, 35), (23, 16), (100, 33)]:
        a, b = numbers((m, k), TYPES[dtype]), numbers((k, n), TYPES[dtype], 1)
        for host in HOSTS:
            check(product, put(0, a), put(1, b), host)


@pytest.mark.parametrize("dtype", TYPES)
def test_few_rows_stream_a_large_matrix(product, dtype):
    """In passes, from rows of 8 KiB on; beside them, what is packed or read by panels."""
    for m, k, n in [
        (2, KC + 3, 2048),
        (4, 9, 2100),
        (8, 2 * KC, 2049),
        (9, 20, 2050),
        (3, 30, 1000),
    ]:
        a, b = numbers((m, k), TYPES[dtype]), numbers((k, n), TYPES[dtype], 1)
        for host in HOSTS:
            check(product, put(0, a), put(1, b), host, cuts=(1, 3), threads=True)
            check(product, put(0, np.ascontiguousarray(a.T)).T, put(1, b), host)


@pytest.mark.parametrize("dtype", TYPES)
def test_more_rows_and_columns_than_are_packed(product, dtype):
    for m, n in [
        (PACK_I + 5, 40),
        (PACK_I, TILE_J + 1),
        (95, 2 * TILE_J + 9),
        (2 * PACK_I + 50, 300),
    ]:
        a, b = numbers((m, 70), TYPES[dtype]), numbers((70, n), TYPES[dtype], 1)
        for host in HOSTS:
            check(product, put(0, a), put(1, b), host)


LAYOUTS = {
    "rows": lambda put, x: put(x),
    "columns": lambda put, x: put(x.T.copy()).T,
    "backward rows": lambda put, x: put(x[::-1].copy())[::-1],
    "backward columns": lambda put, x: put(x[:, ::-1].copy())[:, ::-1],
    "backward transposed": lambda put, x: put(x[::-1].T.copy()).T[::-1],
    "every third": lambda put, x: put(np.repeat(x, 3, 1))[:, ::3],
    "every second row of columns": lambda put, x: put(np.repeat(x, 2, 0).T.copy()).T[::2],
    "one row": lambda put, x: np.broadcast_to(put(x[0]), x.shape),
    "one column": lambda put, x: np.broadcast_to(put(x[:, 0].copy())[:, None], x.shape),
}


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_layouts(product, left, right):
    for dtype, host in [("f32", str(MACHINE.vector_bytes)), ("f64", "plain")]:
        for at_end in (False, True):
            for m, n, k in [(3, 5, 4), (13, 70, 31), (101, 19, 300), (8, 64, 8)]:
                a, b = numbers((m, k), TYPES[dtype]), numbers((k, n), TYPES[dtype], 1)
                a = LAYOUTS[left](lambda x, end=at_end: put(0, x, end), a)
                b = LAYOUTS[right](lambda x, end=at_end: put(1, x, end), b)
                check(product, a, b, host)


@pytest.mark.parametrize("host", HOSTS)
def test_any_cut_of_the_units(product, host):
    rng = np.random.default_rng(5)
    for m, n, k in [(200, 30, 9), (50, 3 * TILE_J + 20, 5), (130, TILE_J + 44, KC + 3)]:
        a, b = put(0, numbers((m, k), np.float32)), put(1, numbers((k, n), np.float32, 1))
        units = -(-m // TILE_I) * -(-n // TILE_J)
        check(product, a, b, host, range(1, units))
        for _ in range(4):
            cuts = sorted(rng.integers(0, units + 1, 3).tolist())
            check(product, a, b, host, cuts)
            check(product, a, b, host, cuts, threads=True)


@pytest.mark.parametrize("dtype", TYPES)
def test_batches(product, dtype):
    for m, n, k in [(5, 7, 6), (20, 40, 3), (33, 65, 30)]:
        a, b = numbers((3, 2, m, k), TYPES[dtype]), numbers((3, 2, k, n), TYPES[dtype], 1)
        whole, first, none = (slice(None),) * 2, (slice(None), slice(1)), (slice(1), slice(1))
        for left, right in [(whole, whole), (whole, first), (none, whole), (whole, none)]:
            lhs = np.broadcast_to(put(0, a[left].copy()), a.shape)
            rhs = np.broadcast_to(put(1, b[right].copy()), b.shape)
            expected = np.array([[product(x, y) for x, y in zip(*p)] for p in zip(lhs, rhs)])
            for cuts in ((), (1,), (2, 5, 6)):
                out = put(2, np.zeros((3, 2, m, n), TYPES[dtype]))
                call = Call(lhs, rhs, out)
                call(kernel_of(call, str(MACHINE.vector_bytes)), cuts)
                assert same(out.copy(), expected)


class Walked(Call):
    """A Call with an operand that walks columns (side "rhs") or rows ("lhs") and k in digits, as (extent,
    stride) each, most significant first, from the start of an image. An axis of one digit is a stride.
    """

    def __init__(self, image, side, across, along, other, out):
        sizes = [int(np.prod([extent for extent, _ in digits])) for digits in (across, along)]
        shape = (sizes[1], sizes[0]) if side == "rhs" else sizes
        steps = [parts[0][1] * image.itemsize * (len(parts) == 1) for parts in (across, along)]
        view = np.lib.stride_tricks.as_strided(
            image, shape, steps[::-1] if side == "rhs" else steps
        )
        super().__init__(*((other, view) if side == "rhs" else (view, other)), out)
        digits = tuple(
            Digits(side, axis, tuple((self.number(n), self.number(s)) for n, s in parts))
            for axis, parts in (("j" if side == "rhs" else "i", across), ("k", along))
            if len(parts) > 1
        )
        self.contract = self.contract._replace(digits=digits)
        verify(self.contract)


def offsets(digits):
    found = np.zeros(1, int)
    for extent, stride in digits:
        found = (found[:, None] + np.arange(extent) * stride).ravel()
    return found


WALKS = {  # columns or rows, then k
    "3x3 of 20x31": (((18, 31), (29, 1)), ((7, 620), (3, 31), (3, 1))),
    "long lines": (((3, 600), (270, 1)), ((2, 2000), (3, 600), (3, 1))),
    "short lines": (((50, 7), (5, 1)), ((40, 400), (3, 7), (3, 1))),
    "every second": (((9, 82), (20, 2)), ((2, 900), (3, 41), (2, 1))),
    "few": (((2, 5), (3, 1)), ((2, 9), (2, 1))),
    "one line": (((40, 1),), ((150, 60), (2, 3), (2, 1))),
    "one long line": (((600, 1),), ((20, 700), (5, 3))),
    "every second of a line": (((90, 2),), ((20, 200), (5, 3))),
    "lines of a block": (((30, 40), (7, 1)), ((33, 1),)),
    "channels last": (((6, 120), (10, 8)), ((8, 1), (3, 120), (3, 8))),
}


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("side", ["lhs", "rhs"])
def test_digits(product, walk, side):
    """Windows of an image that ends at memory that cannot be read."""
    across, along = WALKS[walk]
    n, k = offsets(across), offsets(along)
    for dtype, host in itertools.product(TYPES, HOSTS):
        image = put(0, numbers((n.max() + k.max() + 1,), TYPES[dtype]))
        windows = image[k[:, None] + n]
        # the first block of rows packs what the second reads
        for m in (3, 41, PACK_I + 9) if walk == "short lines" else (3, 41):
            other = put(1, numbers((m, len(k)), TYPES[dtype], 1))
            left, right = other, windows
            if side == "lhs":
                left, right = windows.T, other.T
            out, around = margins((left.shape[0], right.shape[1]), TYPES[dtype])
            call = Walked(image, side, across, along, other.T if side == "lhs" else other, out)
            call(kernel_of(call, host), range(1, call.units, 2))
            assert same(out.copy(), product(left, right)), (dtype, host, m)
            out[...] = 7
            assert (around == 7).all()


def bias_relu(call):
    bias = put(2, numbers((call.n,), TYPES[call.dtype], 2))
    call.expected = lambda c: np.maximum(c + bias, 0)
    return (
        call.load(np.broadcast_to(bias, (call.m, call.n))),
        Instr("add", call.dtype, (0, 1)),
        Instr("const", call.dtype, (), 0.0),
        Instr("maximum", call.dtype, (2, 3)),
        call.store(call.out, 4),
    )


def residual_scale(call):
    """By rows and by a launch's scalar; two outputs, of which the first holds the sums."""
    dtype = TYPES[call.dtype]
    other = put(2, numbers((call.m, call.n), dtype, 3))
    rows = put(3, numbers((call.m,), dtype, 4))
    second = np.zeros((call.m, call.n), dtype)
    bits = np.array([0.75], dtype).view(np.int32 if dtype == np.float32 else np.int64)
    call.params.append(int(bits[0]))
    scale = P(len(call.params) - 1)
    call.expected = lambda c: (c + other) * rows[:, None]
    call.second = (second, lambda c: c * dtype(0.75))
    return (
        call.load(other),
        Instr("add", call.dtype, (0, 1)),
        call.load(np.broadcast_to(rows[:, None], (call.m, call.n))),
        Instr("multiply", call.dtype, (2, 3)),
        call.store(call.out, 4),
        Instr("param", call.dtype, (), scale),
        Instr("multiply", call.dtype, (0, 6)),
        call.store(second, 7),
    )


def update(call):
    """out += a @ b: the output is read, so the sums cannot lie there."""
    before = numbers((call.m, call.n), TYPES[call.dtype], 5)
    call.out[...] = before
    call.expected = lambda c: before + c
    store = call.store(call.out, 2, "inout")
    return (Instr("load", call.dtype, (), store.attr), Instr("add", call.dtype, (1, 0)), store)


def transposed(call):
    """Stored by columns."""
    call.out = put(4, np.zeros((call.n, call.m), TYPES[call.dtype])).T
    call.expected = lambda c: c
    return (call.store(call.out, 0),)


def half(call):
    call.out = put(4, np.zeros((call.m, call.n), np.float16))
    call.expected = lambda c: c.astype(np.float16)
    return (Instr("cast", "f16", (0,)), call.store(call.out, 1))


def mask(call):
    call.out = put(4, np.zeros((call.m, call.n), np.bool_))
    call.expected = lambda c: c > 0.5
    return (
        Instr("const", call.dtype, (), 0.5),
        Instr("greater", "b1", (0, 1)),
        call.store(call.out, 2),
    )


def places(call):
    """The column's number where the sum is positive."""
    call.out = put(4, np.zeros((call.m, call.n), np.int64))
    call.expected = lambda c: np.where(c > 0, np.arange(call.n), -1)
    return (
        Instr("const", call.dtype, (), 0.0),
        Instr("greater", "b1", (0, 1)),
        Instr("index", "i64", (), (0, (0, 1))),
        Instr("const", "i64", (), -1),
        Instr("where", "i64", (2, 3, 4)),
        call.store(call.out, 5),
    )


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "epilogue", [bias_relu, residual_scale, update, transposed, half, mask, places]
)
def test_epilogues(product, epilogue, dtype, host):
    for m, n, k in [(3, 5, 4), (37, 29, 3), (PACK_I + 20, 70, KC + 20), (20, TILE_J + 30, 40)]:
        a, b = put(0, numbers((m, k), TYPES[dtype])), put(1, numbers((k, n), TYPES[dtype], 1))
        sums = product(a, b)
        for cuts in ((), (1,)):
            call = Call(a, b, put(4, np.zeros((m, n), TYPES[dtype])), epilogue)
            call(kernel_of(call, host), cuts)
            assert same(call.out.copy(), call.expected(sums).astype(call.out.dtype)), (m, n, k)
            if hasattr(call, "second"):
                second, expected = call.second
                assert same(second, expected(sums))


def test_special_values(product):
    """NaN, infinities, signed zeros and subnormals; -0 is kept where all of a block underflows."""
    rng = np.random.default_rng(3)
    for dtype in TYPES.values():
        tiny = np.finfo(dtype).tiny
        values = np.array([0.0, -0.0, 1, -1, np.inf, np.nan, tiny, -tiny, tiny / 4, 1e30], dtype)
        a, b = rng.choice(values, (17, 300)), rng.choice(values, (300, 37))
        a[:5], b[:, :5] = tiny, -tiny
        out = np.zeros((17, 37), dtype)
        call = Call(put(0, a), put(1, b), out)
        call(kernel_of(call, str(MACHINE.vector_bytes)))
        expected = product(a, b)
        nan = np.isnan(expected)
        assert (np.isnan(out) == nan).all() and same(out[~nan], expected[~nan])
        assert (np.signbit(out) == np.signbit(expected))[~nan].all()


@pytest.mark.parametrize("opt_level", jit.OPT_LEVELS)
def test_every_opt_level(product, opt_level):
    for dtype in TYPES:
        a, b = numbers((29, 270), TYPES[dtype]), numbers((270, 45), TYPES[dtype], 1)
        out = np.zeros((29, 45), TYPES[dtype])
        call = Call(a, b.T.copy().T, out)
        function, owner = call.build(MACHINE, opt_level)
        call(function)
        assert same(out, product(a, b))
        del owner


def test_near_numpy():
    a, b = numbers((150, 400), np.float64), numbers((400, 90), np.float64, 1)
    out = np.zeros((150, 90))
    call = Call(a, b, out)
    call(kernel_of(call, str(MACHINE.vector_bytes)))
    np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-12)


def test_no_units_of_an_empty_product():
    out = np.zeros((0, 4), np.float32)
    call = Call(np.zeros((0, 5), np.float32), np.zeros((5, 4), np.float32), out)
    assert call.units == 0
    call(kernel_of(call, str(MACHINE.vector_bytes)))


def test_tiles_fit_the_scratch():
    for host in HOSTS.values():
        for dtype in TYPES:
            tile = tile_of(dtype, host)
            assert TILE_J % tile.nr == 0 and tile.mr <= TILE_I and tile.mr * tile.nr <= 4032
