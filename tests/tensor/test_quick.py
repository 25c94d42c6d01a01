"""quick: functions with a short way in C do what they do without it."""

import inspect
import pickle

import numpy as np
import pytest

import charl as ch

pytestmark = pytest.mark.cpu

A = np.array([[1.5, -2.0, 0.0], [np.inf, 3.0, -0.0]])


@pytest.mark.parametrize("name", ["exp", "abs", "floor", "isnan", "square", "negative"])
@pytest.mark.parametrize("given", [A, A.astype(np.float32), A[0, 0], [1.0, 2.0], 2.0, 3, A[:, 1:]])
def test_one_operand(name, given):
    want = getattr(np, name)(np.asarray(given))
    for x in (given, ch.asarray(given)):
        found = getattr(ch, name)(x)
        assert found.shape == want.shape
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("name", ["add", "maximum", "less", "pow", "hypot", "atan2"])
@pytest.mark.parametrize("other", [A, A.astype(np.float32), 2.0, 3, True, A[0], A[:, :1]])
def test_two_operands(name, other):
    plain = {"pow": "power", "atan2": "arctan2"}.get(name, name)
    with np.errstate(all="ignore"):
        wants = getattr(np, plain)(A, other), getattr(np, plain)(other, A)
    y = ch.asarray(other) if isinstance(other, np.ndarray) else other
    founds = getattr(ch, name)(ch.asarray(A), y), getattr(ch, name)(y, ch.asarray(A))
    for found, want in zip(founds, wants, strict=True):
        assert found.numpy().dtype == want.dtype
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("x1", "x2"),
    [(A, A.T.reshape(2, 3)), (A, 1.0), (2, A), (A, A.astype(np.float32)), (A[:, :1], A), (1, 2)],
)
@pytest.mark.parametrize("test", [A > 0, A, (A > 0)[0], True])
def test_where(test, x1, x2):
    given = [ch.asarray(x) if isinstance(x, np.ndarray) else x for x in (test, x1, x2)]
    want = np.where(test, x1, x2)
    found = ch.where(*given)
    assert found.numpy().dtype == want.dtype
    np.testing.assert_array_equal(found.numpy(), want)


def test_arguments_are_checked():
    x = ch.asarray(A)
    for wrong in (
        lambda: ch.exp(),
        lambda: ch.exp(x, x),
        lambda: ch.exp(x=x),
        lambda: ch.add(x),
        lambda: ch.where(x > 0, x),
        lambda: ch.where(x > 0, x1=x, x2=x),
        lambda: ch.add(x, "text"),
        lambda: ch.add(x, object()),
        lambda: ch.exp("text"),
        lambda: ch.bitwise_and(x, x),
        lambda: ch.where(x > 0, x, "text"),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="broadcast"):
        ch.add(x, ch.ones(2))


def test_they_are_functions_to_their_users():
    assert list(inspect.signature(ch.where).parameters) == ["condition", "x1", "x2"]
    assert ch.exp.__name__ == "exp" and "e to the power x" in ch.exp.__doc__
    assert pickle.loads(pickle.dumps(ch.maximum)) is ch.maximum
    assert "function exp" in repr(ch.exp)
