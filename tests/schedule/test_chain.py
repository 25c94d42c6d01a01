"""Chains: products with row work between them are done item by item, and what lies between is never whole."""

import numpy as np
import pytest

import charl as ch
from charl.runtime.pool import reset_peak
from charl.schedule import chain, plan
from charl.schedule.prepare import HANDLE, OUT

from .run import Fake, leaf, order, sizes_of
from .test_plan import softmax

RNG = np.random.default_rng(5)


def product(x, y):
    shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
    return Fake("matmul", "f64", shape, (x, y))


def attention(items, rows, keys, width, row_work=True):
    q, k, v = (
        leaf(np.ones(s)) for s in ((items, rows, width), (items, width, keys), (items, keys, width))
    )
    scores = product(q, k)
    return scores, product(softmax(scores, 2) if row_work else scores, v)


def scheduled(result, held=()):
    nodes = order([result])
    flags = [OUT if n is result else HANDLE if n in held else 0 for n in nodes]
    schedule = plan.build(nodes, flags)
    return schedule, schedule.bind(sizes_of(nodes))


@pytest.mark.parametrize("row_work, steps", [(True, 3), (False, 2)])
def test_products_with_rows_between_are_a_chain(row_work, steps):
    schedule, bound = scheduled(attention(16, 48, 64, 8, row_work)[1])
    ((first, count, items, slots, *_),) = bound.chains
    assert (first, count, items, len(slots)) == (0, steps, 16, steps - 1)
    assert all(schedule.slots[k].kind == "temp" for k in slots)


def test_items_that_share_a_right_side_follow_each_other():
    q, k = leaf(np.ones((2, 3, 8, 32, 16))), leaf(np.ones((2, 1, 8, 16, 64)))
    scores = product(q, k)
    result = product(softmax(scores, 4), leaf(np.ones((2, 1, 8, 64, 5))))
    ((*_, inmost, resting, _, _),) = scheduled(result)[1].chains
    assert (inmost, resting) == ((3, 8), 1)
    ((*_, inmost, _, _, _),) = scheduled(attention(16, 48, 64, 8)[1])[1].chains
    assert inmost == (1, 1)


def test_what_an_item_reads_is_stated_in_bytes():
    ((*_, pieces, reads),) = scheduled(attention(16, 48, 64, 8)[1])[1].chains
    assert pieces == 48 * 64 // chain.PIECE + 1
    assert [read[0] for read in reads] == [0, 0, 2]
    assert [read[2:] for read in reads] == [
        (0, 48, 64, 64, ((16, 48 * 64),)),  # rows of the left side
        (
            0,
            8,
            512,
            512,
            ((16, 8 * 512),),
        ),  # steps along k of the right side, which is contiguous along j
        (0, 64, 64, 64, ((16, 64 * 64),)),
    ]
    assert (
        scheduled(attention(16, 48, 64, 8, False)[1])[1].chains[0][-1] == ()
    )  # no row work to fetch beside


def test_what_somebody_holds_is_stored_whole():
    scores, result = attention(16, 48, 64, 8)
    assert scheduled(result, [scores])[1].chains == ()


@pytest.mark.parametrize("items, rows, keys", [(15, 64, 64), (16, 8, 8)])
def test_few_items_and_little_work_are_launched_apart(items, rows, keys):
    assert scheduled(attention(items, rows, keys, 8)[1])[1].chains == ()


def test_a_batch_that_is_walked_in_another_order_is_no_chain():
    q, k = leaf(np.ones((16, 48, 8))), leaf(np.ones((16, 8, 64)))
    turned = Fake("permute", "f64", (16, 64, 48), (product(q, k),), attrs=(0, 2, 1))
    assert scheduled(product(turned, leaf(np.ones((16, 48, 8)))))[1].chains == ()


# -- values ----------------------------------------------------------------------------------------


def soft(x):
    e = ch.exp(x - ch.max(x, axis=-1, keepdims=True))
    return e / ch.sum(e, axis=-1, keepdims=True)


@pytest.mark.parametrize("backend", ["interp", "llvm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows, keys", [(64, 64), (37, 131), (300, 20)])
def test_a_chain_has_the_bits_of_single_launches(backend, dtype, rows, keys):
    q, k, v = (
        RNG.standard_normal((2, 9, *s)).astype(dtype) for s in ((rows, 16), (16, keys), (keys, 5))
    )
    x, y, z = map(ch.asarray, (q, k, v))
    with ch.config(backend=backend):
        scores = ch.matmul(x, y)
        ch.eval(scores)
        weights = soft(scores)
        ch.eval(weights)
        want = ch.matmul(weights, z).numpy()
        for threads in (1, 2, 5):
            with ch.config(num_threads=threads):
                got = ch.matmul(soft(ch.matmul(x, y)), z).numpy()
            np.testing.assert_array_equal(got, want)
    s = q.astype(np.float64) @ k
    w = np.exp(s - s.max(-1, keepdims=True))
    np.testing.assert_allclose(want, w / w.sum(-1, keepdims=True) @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["interp", "llvm"])
def test_a_chain_of_shared_operands_has_the_bits_of_single_launches(backend):
    q = ch.asarray(RNG.standard_normal((2, 3, 5, 32, 16)).astype(np.float32))
    k, v = (ch.asarray(RNG.standard_normal((2, 1, 5, 80, n)).astype(np.float32)) for n in (16, 7))
    k, v = k[..., ::-1, :], ch.matrix_transpose(ch.asarray(ch.matrix_transpose(v).numpy()))
    with ch.config(backend=backend):
        scores = ch.matmul(q, ch.matrix_transpose(k))
        ch.eval(scores)
        weights = soft(scores)
        ch.eval(weights)
        want = ch.matmul(weights, v).numpy()
        for threads in (1, 2, 5):
            with ch.config(num_threads=threads):
                got = ch.matmul(soft(ch.matmul(q, ch.matrix_transpose(k))), v).numpy()
            np.testing.assert_array_equal(got, want)
    s = q.numpy().astype(np.float64) @ k.numpy().swapaxes(-1, -2)
    w = np.exp(s - s.max(-1, keepdims=True))
    np.testing.assert_allclose(want, w / w.sum(-1, keepdims=True) @ v.numpy(), rtol=1e-4, atol=1e-5)


def test_a_chain_holds_one_item_a_thread():
    q = ch.asarray(RNG.standard_normal((2, 16, 256, 8)).astype(np.float32))
    k, scores = ch.matrix_transpose(q), 4 * 2 * 16 * 256 * 256
    with ch.config(num_threads=2):
        ch.eval(ch.matmul(soft(ch.matmul(q, k)), q))  # scratch grows once
        reset_peak()
        before = ch.memory_stats()["in_use"]
        ch.eval(ch.matmul(soft(ch.matmul(q, k)), q))
        assert ch.memory_stats()["peak"] - before < scores / 2
