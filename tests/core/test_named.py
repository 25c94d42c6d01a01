"""charl's NamedTuple does what typing's does."""

from __future__ import annotations

import pickle
import typing

import pytest

from charl.core import named


class Ours(named.NamedTuple):
    """A point."""

    x: int
    y: tuple[int, ...] = ()
    z: Ours | None = None

    def twice(self) -> int:
        return 2 * self.x


class Theirs(typing.NamedTuple):
    """A point."""

    x: int
    y: tuple[int, ...] = ()
    z: Theirs | None = None

    def twice(self) -> int:
        return 2 * self.x


CALLS = [
    ((1,), {}), ((1, (2,)), {}), ((1,), {"z": None}), ((), {"z": 3, "x": 1}), ((1, 2, 3), {}),
    ((), {}), ((1, 2, 3, 4), {}), ((1,), {"x": 1}), ((1,), {"w": 1}),
]  # fmt: skip


@pytest.mark.parametrize("values, by_name", CALLS)
def test_as_typings(values, by_name):
    try:
        want = Theirs(*values, **by_name)
    except TypeError:
        with pytest.raises(TypeError, match="__new__"):
            Ours(*values, **by_name)
        return
    got = Ours(*values, **by_name)
    assert tuple(got) == tuple(want) and got == want and hash(got) == hash(want)
    assert repr(got) == repr(want).replace("Theirs", "Ours")
    assert (got.x, got.y, got.z, got.twice()) == (want.x, want.y, want.z, want.twice())
    assert got._asdict() == want._asdict() and type(got._replace(x=7)) is Ours
    assert tuple(got._replace(x=7)) == tuple(want._replace(x=7))
    copy = pickle.loads(pickle.dumps(got))
    assert copy == got and type(copy) is Ours


def test_fields():
    assert Ours._fields == Theirs._fields == Ours.__match_args__ and Ours.__doc__ == "A point."
    with pytest.raises(AttributeError):
        Ours(1).x = 2
    with pytest.raises(TypeError, match="w"):
        Ours(1)._replace(w=2)
