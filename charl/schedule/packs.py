"""Packs: small arrays that a kernel reads over and over, in steps, are stored along its vectors first.

In `a[:, None, :] - b[None, :, :]`, summed over the last axis, vectors lie along b's first axis. A copy
of b in which that axis is last costs b's size once, and makes every load of a row one of neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from charl.schedule import tile
from charl.schedule.index import Index, Lin
from charl.schedule.sizes import product, same

if TYPE_CHECKING:
    from charl.schedule.lower import Group

FEW = 16  # an array with so many times fewer elements than the group's space is packed for little


def axis(group: Group, at: int, index: Index, lin: Lin) -> int | None:
    """The axis of held vertex `at` that is to be last where it is read at `index`, `lin` in C order.
    None where it is read well, or a pack would not pay.
    """
    lane = _lane(group)
    if lane is None or same(lin.terms.get(lane, 1), 1):
        return None
    shape = group.graph.shape(at)
    axes = [a for a, e in enumerate(index) if lane in e.terms]
    if len(axes) != 1 or all(same(n, 1) for n in shape[axes[0] + 1 :]):
        return None
    return axes[0] if product(shape) * FEW <= product(group.extents.values()) else None


def _lane(group: Group) -> int | None:
    """The axis that vectors lie along; None where packs are not wanted."""
    if not group.graph.host or group.order != "row" or group.contract is not None:
        return None
    if group.inner is not None:
        return group.inner[-1]
    if not group.space:
        return None
    return group.space[tile.vector_axis([group.extents[a] for a in group.space])]
