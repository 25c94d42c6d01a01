"""Which instructions wait for a lane that wants them."""

import numpy as np

from charl.codegen import lazy
from tests.codegen.kernels import CASES


def found(name, tanh=20):
    """tanh: the cost of that op."""
    kernel = CASES[name](8, np.random.default_rng(0))[0]
    body = [i for stage in kernel.stages for i in stage.body]
    own = ("load", "const", "store", "reduce")
    costs = [0 if i.op in own else tanh if i.op == "tanh" else 1 for i in body]
    return body, lazy.groups(kernel, 0, 0, costs)


def test_groups():
    """Each round: four of arithmetic and two choices; tanh and the choice of the other side."""
    body, groups = found("wanted")
    assert [(g.condition, g.side, g.members, g.choices) for g in groups[:1]] == [
        (2, 1, (3, 4, 5, 6, 7, 8), (7, 8))
    ]
    assert [g.side for g in groups] == [1, 1, 1, 2, 2, 2]
    assert [body[n].op for n in groups[3].members] == ["tanh", "where"]


def test_what_waits_is_wanted_nowhere_else():
    body, groups = found("wanted")
    for group in groups:
        outside = [i for n, i in enumerate(body) if n not in group.members]
        hidden = set(group.members) - set(group.choices)
        assert not hidden & {a for i in outside for a in i.args}
        for n in group.choices:
            assert body[n].args[0] == group.condition and body[n].args[3 - group.side] not in hidden
        known = [a for n in group.members for a in body[n].args if a not in group.members]
        assert max(known) < group.choices[0]


def test_cheap_operands_do_not_wait():
    assert not found("mixed_widths")[1]
    assert not found("wanted", tanh=1)[1]
