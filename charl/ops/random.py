"""Random bits, as a function of counter and key, so that a draw can be made in any order and on any
device.
"""

from charl.ops.table import op

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF


def _philox(b, counter, key):
    """Philox4x32-10 of the counter words (low, high, 0, 0) and key words (low, high): word 0 of the
    result with word 1 above it. u64 only; each word is held in one. Source: Salmon, SC 2011.
    """
    x0, x1 = counter & _LOW, counter >> 32
    x2 = x3 = b.like(counter, 0)
    k0, k1 = key & _LOW, key >> 32
    for turn in range(10):
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & _LOW, (p0 >> 32) ^ x3 ^ k1, p0 & _LOW
        if turn < 9:
            k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return x0 | (x1 << 32)


op("philox", 2, "u", expand=_philox, cost=100, doc=_philox.__doc__)
