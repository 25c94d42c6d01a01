"""Attention and embeddings. Source: torch.nn.functional."""

from __future__ import annotations

import itertools
import math

import charl as ch
from charl.nn.arguments import floating

BLOCK = 1 << 16  # so many scores stay in a core's cache
LEAST_ROWS = 32  # of a block: fewer make poor products
PART_ROWS, MOST_PARTS = 64, 4  # of causal attention: rows of a part at least, parts at most


def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
):
    """softmax(query @ key^T * scale + mask) @ value: query (..., L, E), key (..., S, E), value (..., S, F) ->
    (..., L, F). Leading axes broadcast. scale None is 1 / sqrt(E). On the CPU no more than some rows of the scores of
    each thread are held at a time, where there are at least 16 heads in all, or blocks of them.

    attn_mask, which broadcasts to (..., L, S): bool, False where a key takes no part, or floats, which are added. A
    query without any key gives 0. is_causal: query i sees keys up to i. dropout_p: the probability with which a weight
    becomes 0; the others are divided by 1 - dropout_p. enable_gqa: key and value have fewer heads (axis -3), each
    shared by as many neighbours of query's.
    Raises TypeError for dtypes that are not floating-point, ValueError for shapes that do not fit, a mask beside
    is_causal, and a probability outside [0, 1].

    >>> q = ch.ones((1, 2))
    >>> ch.nn.scaled_dot_product_attention(q, q, ch.asarray([[3.0]]))
    Tensor([[3.]])
    """
    name = "scaled_dot_product_attention"
    q, k, v = (
        floating(x, name, what) for x, what in ((query, "query"), (key, "key"), (value, "value"))
    )
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(f"{name}: query, key and value have at least 2 axes")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"{name}: query {q.shape}, key {k.shape} and value {v.shape} do not fit: (..., L, E), "
            "(..., S, E), (..., S, F)"
        )
    if attn_mask is not None and is_causal:
        raise ValueError(f"{name}: attn_mask and is_causal exclude each other")
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"{name}: dropout_p must lie in [0, 1], got {dropout_p}")
    if enable_gqa:
        k, v = (_repeat_heads(name, x, q) for x in (k, v))
    factor = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    if attn_mask is not None:
        attn_mask = ch.asarray(attn_mask)
    if dropout_p > 0.0:  # draws numbers
        return _attention(q, k, v, attn_mask, is_causal, factor, dropout_p)
    return _remembered(q, k, v, attn_mask, is_causal, factor, 0.0)


def _attention(q, k, v, mask, is_causal, factor, dropout_p):
    """What the arguments, which have been checked, ask for."""
    if not is_causal:
        return _in_blocks(q, k, v, mask, factor, dropout_p)
    length, parts = q.shape[-2], _parts(q)
    out = []
    for start, stop in itertools.pairwise(length * part // parts for part in range(parts + 1)):
        seen = min(stop, k.shape[-2])  # no query of this part sees more keys
        rows = ch.arange(start, stop, device=q.device)
        mask = ch.expand_dims(rows, axis=1) >= ch.arange(seen, device=q.device)
        keys, values = k[..., :seen, :], v[..., :seen, :]
        out.append(_in_blocks(q[..., start:stop, :], keys, values, mask, factor, dropout_p))
    return out[0] if parts == 1 else ch.concat(out, axis=-2)


_remembered = ch._recorded(_attention)


def _parts(q):
    """Into how many parts causal attention cuts the queries: a part leaves out the keys that none of it sees."""
    return min(max(q.shape[-2] // PART_ROWS, 1), MOST_PARTS) if q.device == "cpu" else 1


def _in_blocks(q, k, v, mask, factor, dropout_p):
    """The formula, for blocks of queries whose scores stay in the cache."""
    blocks = _blocks(q, k)
    if blocks == 1:
        return _attended(q, k, v, mask, factor, dropout_p)
    q, k, v = _cut(q, blocks), _cut(k, 1), _cut(v, 1)
    if mask is not None and mask.ndim > 1:
        mask = _cut(mask, blocks if mask.shape[-2] > 1 else 1)
    y = ch.moveaxis(_attended(q, k, v, mask, factor, dropout_p), -4, -3)
    return ch.reshape(y, (*y.shape[:-3], y.shape[-3] * y.shape[-2], y.shape[-1]))


def _attended(q, k, v, mask, factor, dropout_p):
    """The formula."""
    scores = ch.matmul(q, ch.matrix_transpose(k)) * factor
    if mask is not None:
        scores = _masked(scores, mask)
    weights = _weights(scores, mask is not None)
    if dropout_p > 0.0:
        kept = ch.random.default_rng().random(weights.shape, dtype=ch.float32) >= dropout_p
        weights = ch.where(kept, weights / max(1.0 - dropout_p, 1e-30), 0)
    return ch.matmul(weights, v)


def _blocks(q, k):
    """Into how many blocks of equal size the queries are cut, so that a block's scores stay in the cache."""
    rows, keys = q.shape[-2], k.shape[-2]
    if q.ndim < 3 or rows * keys <= BLOCK or q.device != "cpu":
        return 1
    most = max(BLOCK // keys, LEAST_ROWS)
    for count in range(-(-rows // most), rows // LEAST_ROWS + 1):
        if rows % count == 0:
            return count
    return 1


def _cut(x, blocks):
    """x (..., heads, rows, n) -> (..., blocks, heads, rows / blocks, n): blocks before heads, so that a block of one
    head is an item of the batch. An x of 2 axes is every head's.
    """
    if x.ndim < 3:
        x = ch.expand_dims(x, axis=0)
    shape = (*x.shape[:-2], blocks, x.shape[-2] // blocks, x.shape[-1])
    return ch.moveaxis(ch.reshape(x, shape), -3, -4)


def _repeat_heads(name, x, query):
    """x (..., heads, S, E) with each head as often as query needs it."""
    if x.ndim < 3 or query.ndim < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        raise ValueError(
            f"{name}: {query.shape} needs a whole number of heads for each one of {x.shape}"
        )
    return ch.repeat(x, query.shape[-3] // x.shape[-3], axis=x.ndim - 3)


def _masked(scores, mask):
    if mask.dtype == ch.bool:
        return ch.where(mask, scores, -math.inf)
    return scores + ch.astype(mask, scores.dtype)


def _weights(scores, masked):
    """The softmax of each row; 0 where all of it is masked."""
    top = ch.max(scores, axis=-1, keepdims=True)
    if masked:
        top = ch.where(top == -math.inf, 0, top)
    e = ch.exp(scores - top)
    total = ch.sum(e, axis=-1, keepdims=True)
    if masked:
        total = ch.where(total == 0, 1, total)
    # a division a row: a division an element takes a third of a softmax's time
    return e * (1 / total)


def embedding(input, weight, padding_idx=None):
    """Rows of weight (n, ...) at the integers of input: its shape, then weight's from axis 1 on. As in NumPy, negative
    integers count from the end. padding_idx names the row whose gradient is to be 0, and changes no value.

    Raises TypeError where input is no array of integers, ValueError where padding_idx is no row, and, once values are
    needed, IndexError for integers out of range.

    >>> ch.nn.embedding(ch.asarray([1, 0]), ch.asarray([[1.0], [2.0]]))
    Tensor([[2.],
            [1.]])
    """
    weight, index = ch.asarray(weight), ch.asarray(input)
    if not ch.isdtype(index.dtype, "integral"):
        raise TypeError(f"embedding: input must be of an integer dtype, got {index.dtype}")
    if weight.ndim < 1:
        raise ValueError("embedding: weight must have at least one axis")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx {padding_idx} is no row of weight {weight.shape}")
    flat = ch.take(weight, ch.reshape(index, (-1,)), axis=0)
    return ch.reshape(flat, (*index.shape, *weight.shape[1:]))
