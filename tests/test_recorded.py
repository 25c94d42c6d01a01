"""recorded: functions whose graphs are kept as templates give what the plain functions give."""

import copy
import pickle
import threading

import numpy as np
import pytest

import charl as ch
from charl.tensor import node_of, recorded

pytestmark = pytest.mark.cpu


def data(*shape, dtype=np.float32):
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def name(tensor):
    return repr(node_of(tensor)).split()[1]


@recorded
def centred(x, /, *, axis=None, scale=1.0):
    """x less its mean, times scale."""
    return (x - ch.mean(x, axis=axis, keepdims=True)) * scale


def test_a_call_records_one_node_and_values_are_those_of_the_function():
    x = ch.asarray(data(5, 7))
    for axis in (None, 0, 1, (0, 1)):
        for _ in range(2):
            found = centred(x, axis=axis)
            assert name(found) == "compound"
            expected = centred.__wrapped__(x, axis=axis)
            assert name(expected) == "multiply"
            assert np.array_equal(found.numpy(), expected.numpy())


def test_arguments_that_are_equal_but_not_the_same_are_told_apart():
    x = ch.asarray(np.zeros(3))
    signs = [np.signbit(centred(x, scale=s).numpy()).all() for s in (0.0, -0.0, 0.0, -0.0)]
    assert signs == [False, True, False, True]
    with pytest.raises(TypeError):
        ch.sum(ch.asarray(data(2, 2)), axis=1.0)
    ch.sum(ch.asarray(data(2, 2)), axis=1)
    with pytest.raises(TypeError):
        ch.sum(ch.asarray(data(2, 2)), axis=1.0)


def test_what_no_template_is_made_of_calls_the_function():
    assert ch.sum(3).item() == 3
    assert ch.sum([1, 2]).item() == 3
    assert ch.sum(np.ones(4)).item() == 4
    x = ch.ones((2, 3))
    assert ch.sum(x, axis=()).tolist() == [[1.0] * 3] * 2  # the operand itself
    assert ch.sum(x, dtype="float32").dtype == ch.float32
    again = ch.cumulative_sum(ch.ones(3), include_initial=True)  # writes into a base
    assert again.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_operands_may_be_views_pending_or_twice_the_same():
    a = data(6, 6)
    x = ch.asarray(a)
    for view, of in ((x.T, a.T), (x[1:, ::2], a[1:, ::2]), (x * 2, a * 2)):
        assert np.allclose(ch.var(view, axis=0).numpy(), of.var(0), rtol=1e-5)
    view = x[2]
    before = ch.mean(view)
    x[2] = 0.0
    assert np.allclose(before.item(), a[2].mean())
    assert ch.mean(view).item() == 0

    @recorded
    def product(x, y):
        return ch.sum(x * y)

    v = ch.asarray(a[0])
    assert product(v, v).item() == product.__wrapped__(v, v).item()


def test_templates_stand_within_others_and_among_updates():
    @recorded
    def twice(x):
        return centred(centred(x, axis=0), axis=1)

    a = data(4, 5)
    x = ch.asarray(a)
    y = ch.exp(twice(x)) + twice(x)[::-1]
    y[1:3] += twice(x)[1:3]
    plain = centred.__wrapped__(centred.__wrapped__(x, axis=0), axis=1)
    z = ch.exp(plain) + plain[::-1]
    z[1:3] += plain[1:3]
    assert np.array_equal(y.numpy(), z.numpy())


def test_a_held_reduction_is_stored_once_something_needs_it():
    x = ch.asarray(data(50, 20))
    mean = ch.mean(x, axis=1, keepdims=True)
    ch.eval(x - mean)
    launches = ch.cache_info()["launches"]
    mean.numpy()
    assert ch.cache_info()["launches"] == launches


def test_another_shape_makes_a_plan_but_no_kernel():
    def program(n):
        ch.eval(centred(ch.asarray(data(n, 9)), axis=0))

    program(10)
    before = ch.cache_info()
    program(11)
    after = ch.cache_info()
    assert after["kernels"] == before["kernels"]
    assert after["structure_hits"] == before["structure_hits"] + 1


def test_a_plan_serves_other_constants_and_arrays():
    x = ch.asarray(data(8))
    for scale in (2.0, 3.0):
        for c in (1.0, -1.0):
            found = (centred(x, scale=scale) + c).numpy()
            assert np.allclose(found, (data(8) - data(8).mean()) * scale + c, atol=1e-6)


def test_errors_name_the_function_and_leave_everything_usable():
    x = ch.asarray(data(3, 4))
    for _ in range(2):
        with pytest.raises(IndexError, match="sum: axis 5 is out of bounds"):
            ch.sum(x, axis=5)
        with pytest.raises(TypeError):
            ch.sum(x, 0)
        with pytest.raises(ValueError, match="argmax"):
            ch.argmax(ch.zeros((0, 2)), axis=0)
    assert ch.sum(x).shape == ()


def test_a_function_that_asks_for_a_value_is_called_as_it_is():
    @recorded
    def looks(x):
        return x * float(ch.sum(x))

    for n in (1, 2):
        assert looks(ch.ones(3) * n).tolist() == [3.0 * n * n] * 3
    assert (ch.ones(3) * 2).tolist() == [2.0] * 3


def test_padding_inside_of_a_template():
    """What it writes into is its own; a write into an argument keeps it from being a template."""

    @recorded
    def framed(x):
        y = ch.zeros((x.shape[0] + 2,))
        y[1:-1] = x
        return y * 2

    @recorded
    def marked(x):
        x[0] = 9
        return x + 1

    for n in (1, 2):
        x = ch.ones(3) * n
        assert framed(x).tolist() == [0.0, *[2.0 * n] * 3, 0.0]
        assert marked(x).tolist() == [10.0, n + 1, n + 1]
        assert x.tolist() == [9.0, n, n]


def test_templates_are_forgotten_and_made_again():
    for n in range(1100):
        ch.sum(ch.ones((n + 1,)) * 2)
    assert ch.sum(ch.ones(5) * 2).item() == 10


def test_eager_mode_and_pending_limits_give_the_same_bits():
    a = data(9, 33)
    expected = centred(ch.asarray(a), axis=1).numpy()
    with ch.config(eager=True):
        assert np.array_equal(centred(ch.asarray(a), axis=1, scale=1.0).numpy(), expected)
        assert np.array_equal(ch.nn.layer_norm(ch.asarray(a), 33).numpy().shape, (9, 33))
    with ch.config(pending_nodes=1):
        x = ch.asarray(a)
        for _ in range(10):
            x = centred(x, axis=1)
    y = ch.asarray(a)
    for _ in range(10):
        y = centred.__wrapped__(y, axis=1)
    assert np.array_equal(x.numpy(), y.numpy())


def test_threads_record_beside_each_other():
    wrong = []

    def work(seed):
        for n in range(1, 60):
            x = np.full((n, seed + 2), float(seed), np.float32)
            if ch.sum(ch.asarray(x) + 1).item() != (seed + 1) * n * (seed + 2):
                wrong.append((seed, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_functions_are_pickled_and_copied_by_name():
    assert pickle.loads(pickle.dumps(ch.sum)) is ch.sum
    assert copy.deepcopy(ch.nn.softmax) is ch.nn.softmax


def test_another_threads_borrowed_memory_is_read_before_its_call_returns():
    """Though this thread records a template meanwhile."""
    lent = np.ones(4)
    seen = []

    def work():
        x = ch.asarray(lent, copy=False) * 2
        lent[:] = 5
        seen.append(x.tolist())

    @recorded
    def slow(x):
        other = threading.Thread(target=work)
        other.start()
        other.join()
        return ch.mean(x) * 2

    assert slow(ch.ones(3)).item() == 2
    assert seen == [[2.0] * 4]
