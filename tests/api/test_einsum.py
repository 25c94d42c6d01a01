"""einsum against NumPy's: subscripts of all forms, dtypes, paths, errors."""

import importlib.util
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charl as ch
from tests import device, oracle

FLOAT = device.FLOAT.name
SIZES = dict(zip("ijklm", (2, 3, 4, 5, 1)))


def array(shape, dtype=FLOAT, seed=0):
    """Small whole numbers, so that sums are exact in any order."""
    return oracle.fill(tuple(shape), dtype, seed, "whole")


def check(subscripts, *arrays, **options):
    want = np.einsum(subscripts, *arrays, **{k: v for k, v in options.items() if k == "dtype"})
    got = ch.einsum(subscripts, *map(ch.asarray, arrays), **options)
    assert got.shape == want.shape and got.dtype.name == want.dtype.name
    np.testing.assert_array_equal(got.numpy(), want)


def operands(subscripts, dtype=FLOAT):
    terms = subscripts.partition("->")[0].split(",")
    return [array([SIZES[x] for x in term], dtype, k) for k, term in enumerate(terms)]


CASES = [
    "i",
    "i->",
    "ij",
    "ij->ji",
    "ij->j",
    "ij->",
    "ijk->kij",
    "ii",
    "ii->",
    "ii->i",
    "iij->ij",
    "iji->j",
    "iii",
    "iii->i",
    "ijij->ji",
    "i,i",
    "i,i->i",
    "i,j",
    "i,j->ji",
    "ij,j",
    "ij,jk",
    "ij,jk->ki",
    "ij,kj->ik",
    "ji,jk",
    "ij,ij",
    "ij,ij->i",
    "ij,ij->ij",
    "ij,ij->ji",
    "ijk,ikl->ijl",
    "ijk,kl",
    "ijk,ilk->ijl",
    "ij,k->kij",
    "ii,i",
    "ii,ij->j",
    "iji,jk->k",
    "ij,jk,kl",
    "ij,jk,ik->i",
    "i,i,i",
    "i,j,k->kji",
    "ij,jk,kl,l->i",
    "ij,ik,il->jkl",
    "im,mj",
    "mm->m",
    "ijm,mkj->ik",
    "i,,",
]


@pytest.mark.parametrize("subscripts", CASES)
def test_letters(subscripts):
    if subscripts == "i,,":
        check(subscripts, array([3]), np.array(2.0, FLOAT), np.array(3.0, FLOAT))
    else:
        check(subscripts, *operands(subscripts))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("...", [(2, 3)]),
        ("...->...", [(2, 3)]),
        ("...i", [(2, 3)]),
        ("...i->i...", [(2, 3, 4)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("i...i->...", [(3, 2, 3)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
        ("...ij,...jk->...ik", [(5, 1, 2, 3), (6, 3, 4)]),
        ("i...,i...->...", [(3, 2), (3, 1)]),
        ("...,...", [(2, 3), (3,)]),
        ("i...->...", [(3,)]),
        ("ij->j...", [(2, 3)]),
        ("...a,...b->...ab", [(4, 2), (1, 3)]),
        ("i,i", [(1,), (3,)]),
        ("ij,ij->ij", [(1, 3), (2, 3)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        ("ij,jk->ik", [(2, 0), (0, 4)]),
        ("ij,jk->ik", [(0, 3), (3, 4)]),
        ("ii->i", [(0, 0)]),
        ("bA,Ab", [(2, 3), (3, 2)]),
        ("ba", [(2, 3)]),
        (" i j , j k -> i k ", [(2, 3), (3, 4)]),
    ],
)
def test_shapes(subscripts, shapes):
    check(subscripts, *(array(shape, seed=k) for k, shape in enumerate(shapes)))


@pytest.mark.parametrize(
    "dtype", sorted({"float32", FLOAT, "float16", "int8", "uint8", "int32", "bool"})
)
def test_dtypes(dtype):
    for subscripts in ("i->", "ii->i", "ij,jk", "ij,ij->i", "i,j", "ij,jk,kl->il"):
        check(subscripts, *operands(subscripts, dtype))


def test_promotion():
    a, b = array([2, 3], "int8"), array([3, 4], "float32")
    check("ij,jk", a, b)
    check("ij,jk", a, array([3, 4], "uint8"))
    check("ij,jk", a, a.T.copy(), dtype="int32")
    with pytest.raises(TypeError, match="float32 cannot be cast to int32"):
        ch.einsum("ij,jk", a, b, dtype="int32")


def test_lists():
    a, b = array([2, 3]), array([3, 4], seed=1)
    for args in (
        (a, [0, 1]),
        (a, [1, 0]),
        (a, [30, 1]),
        (a, [0, 1], [0]),
        (a, [0, 1], b, [1, 2]),
        (a, [0, 1], b, [1, 2], [2, 0]),
        (a, [0, ...], b, [..., 2]),
        (a, (..., 1), [1, ...]),
    ):
        try:
            want = np.einsum(*args)
        except ValueError:
            with pytest.raises(ValueError, match="einsum"):
                ch.einsum(*args)
            continue
        np.testing.assert_array_equal(ch.einsum(*args).numpy(), want)


@pytest.mark.parametrize(
    "optimize",
    [
        True,
        "greedy",
        ["einsum_path", (0, 1), (0, 1), (0, 1)],
        ["einsum_path", (1, 3), (0, 1, 2)],
        ("einsum_path", (0, 1, 2, 3)),
    ],
)
def test_paths(optimize):
    for subscripts in ("ij,jk,kl,l->i", "i,j,k,l->lk", "ij,ij,jk,ki"):
        check(subscripts, *operands(subscripts), optimize=optimize)


@pytest.mark.skipif(not importlib.util.find_spec("opt_einsum"), reason="opt_einsum is optional")
def test_strategy_unknown():
    with pytest.raises(ValueError, match="no strategy of opt_einsum"):
        ch.einsum("i,i,i", *operands("i,i,i"), optimize="fastest")


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("needs subscripts", ()),
        ("subscripts for", ("ij",)),
        ("subscripts for", ("ij,jk", (2, 3))),
        ("subscripts for", ("ij", (2, 3), (2, 3))),
        ("has shape", ("ij", (3,))),
        ("has shape", ("i", (2, 3))),
        ("letters", ("i1", (2, 3))),
        ("letters", ("i.j", (2, 3))),
        ("letters", ("...i...", (2, 3))),
        ("letters", ("i->->i", (3,))),
        ("'i' twice", ("ij->ii", (2, 3))),
        ("in no input", ("ij->k", (2, 3))),
        ("has no '...'", ("...i->i", (2, 3))),
        ("sizes 3 and 4", ("ij,jk", (2, 3), (4, 5))),
        ("sizes 1 and 3", ("ii", (1, 3))),
        ("stands for sizes", ("i...,i...", (3, 2), (3, 4))),
        ("is no path", ("i,i", (3,), (3,), {"optimize": ["einsum_path", (0, 2)]})),
        ("is no path", ("i,i,i", (3,), (3,), (3,), {"optimize": ["einsum_path", (0, 1)]})),
    ],
)
def test_errors(message, args):
    options = args[-1] if args and isinstance(args[-1], dict) else {}
    args = [array(a) if isinstance(a, tuple) else a for a in args if not isinstance(a, dict)]
    with pytest.raises(ValueError, match=message):
        ch.einsum(*args, **options)


def test_wrong_lists():
    a = array([2, 3])
    with pytest.raises(ValueError, match=r"0\.\.51"):
        ch.einsum(a, [52, 0])
    with pytest.raises(TypeError, match="lists"):
        ch.einsum(a, 3)
    with pytest.raises(TypeError, match="must be an int"):
        ch.einsum(a, [0.5, 1])


@st.composite
def drawn(draw):
    """Subscripts and sizes of up to four operands."""
    labels = draw(st.lists(st.sampled_from("ijkl"), min_size=1, max_size=4, unique=True))
    sizes = {x: draw(st.integers(1, 4)) for x in labels}
    term = st.lists(st.sampled_from(labels), max_size=3).map("".join)
    terms = draw(st.lists(term, min_size=1, max_size=4))
    text, used = ",".join(terms), sorted(set("".join(terms)))
    if draw(st.booleans()):
        text += "->" + "".join(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
    return text, [[sizes[x] for x in term] for term in terms]


@given(drawn(), st.sampled_from(["int32", FLOAT]))
def test_any(case, dtype):
    subscripts, shapes = case
    arrays = [array(shape, dtype, k) for k, shape in enumerate(shapes)]
    check(subscripts, *arrays)


def test_pending_views():
    """Operands that are views of pending work."""
    x = array([4, 6])
    t = ch.asarray(x) + 1
    got = ch.einsum("ij,kj->ik", t[::2], t.T[::-1].T)
    np.testing.assert_array_equal(got.numpy(), (x + 1)[::2] @ (x + 1)[:, ::-1].T)


def test_order_is_that_of_products():
    """A pair is the matrix product, to the bit."""
    a, b = (np.random.default_rng(k).standard_normal((70, 300)).astype(FLOAT) for k in (1, 2))
    x, y = ch.asarray(a), ch.asarray(b)
    got, want = ch.einsum("ij,kj->ik", x, y), ch.matmul(x, y.T)
    assert bytes(got.numpy()) == bytes(want.numpy())
    for p, q in itertools.permutations("ik", 2):
        assert ch.einsum(f"{p}j,{q}j->{p}{q}", a, b).shape == (70, 70)
