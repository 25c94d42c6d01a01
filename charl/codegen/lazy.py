"""Work that only some lanes want: what one arm of `where` takes and nothing else does.

`where(c, f(x), y)` is y where no lane of c is set, so f(x) is put behind a branch on that: points that
have left a loop written as rounds of `where`, or `where(x > 0, log(x), 0)`. A `where` of the same c
goes along if what it takes is known at the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from charl.codegen.body import Body
from charl.codegen.frame import Operand, Region
from charl.codegen.host import Host
from charl.codegen.text import REGISTER, vector
from charl.core.named import NamedTuple
from charl.schedule.kernel import Instr, Kernel

LEAST = 4  # primitives behind a branch,
WORTH = 24  # and behind all of them: a branch that is guessed wrong costs as much


class Group(NamedTuple):
    """`members`, in order, `choices` among them, are written at the first of `choices`: instructions
    `where` that take their operand `side` (1 where the condition holds, 2 where not) from the others.
    """

    condition: int
    side: int
    members: tuple[int, ...]
    choices: tuple[int, ...]


class Lazy(Body):
    """Writes instructions, those of groups at their place."""

    def __init__(self, kernel: Kernel, host: Host, quick: bool):
        super().__init__(kernel, host, quick)
        self.lazy: dict[int, Group] = {}  # by the number at which it is written
        self.waiting: set[int] = set()  # all members of those

    def put_off(self, costs: Sequence[int]) -> None:
        """Finds the groups of all stages. costs: by number, 0 of what may not wait."""
        for stage in range(len(self.kernel.stages)):
            for group in groups(self.kernel, stage, self.starts[stage], costs):
                self.lazy[group.choices[0]] = group
                self.waiting.update(group.members)

    def one(self, at: Region, number: int) -> None:
        if number in self.lazy:
            self._wanted(at, self.lazy[number])
        elif number not in self.waiting:
            super().one(at, number)

    def _wanted(self, at: Region, group: Group) -> None:
        """A group's members, behind a branch if there is a condition for each lane."""
        condition, code, width = self.value(at, group.condition), at.code, at.width
        if not condition.wide or width == 1:
            for number in group.members:
                super().one(at, number)
            return
        body, start = self.kernel.stages[at.stage].body, self.starts[at.stage]
        others = [body[n - start].args[3 - group.side] for n in group.choices]
        texts = [self.spread(at, self.value(at, n)) for n in others]
        some = condition.text
        if group.side == 2:
            some = code.op(f"xor {vector('i1', width)} {some}, splat (i1 true)")
        before, wanted, done = code.label, self.module.name("wanted"), self.module.name("done")
        code.branch(self.ops.any(code, some, width), wanted, done)
        code.begin(wanted)
        inside = replace(at, splats=dict(at.splats))
        for number in group.members:
            super().one(inside, number)
        made = [self.spread(inside, self.values[n]) for n in group.choices]
        after = code.label
        code.do(f"br label %{done}")
        code.begin(done)
        for number, text, value in zip(group.choices, texts, made):
            dtype = self.dtypes[number]
            full = vector(REGISTER[dtype], width)
            phi = code.op(f"phi {full} [{text}, %{before}], [{value}, %{after}]")
            self.values[number] = Operand(phi, dtype, True, False)


def groups(kernel: Kernel, stage: int, first: int, costs: Sequence[int]) -> list[Group]:
    """Of a stage whose first instruction is number `first`. costs: by number, 0 of what may not wait."""
    body = kernel.stages[stage].body
    users: dict[int, list[int]] = {}
    number = 0
    for each in kernel.stages:
        for instr in each.body:
            for a in dict.fromkeys(instr.args):
                users.setdefault(a, []).append(number)
            number += 1
    found: list[Group] = []
    free = list(costs)  # 0, too, for what a group has
    for side in (1, 2):
        by_condition: dict[int, list[int]] = {}
        for number, instr in enumerate(body, first):
            if instr.op == "where" and free[number]:
                by_condition.setdefault(instr.args[0], []).append(number)
        for condition, choices in by_condition.items():
            left = [n for n in choices if free[n]]
            while left:
                group = _grown(body, first, users, free, condition, side, left)
                left = [n for n in left if n not in group.choices]
                if sum(free[n] for n in group.members) - len(group.choices) >= LEAST:
                    found.append(group)
                    for n in group.members:
                        free[n] = 0
    total = sum(costs[n] for group in found for n in group.members)
    return found if total >= WORTH else []


def _grown(body, first, users, costs, condition: int, side: int, choices: list[int]) -> Group:
    """The group of the first of `choices` and of those that can go along."""
    at, chosen = choices[0], list(choices)
    while True:
        waiting = _waiting(body, first, users, costs, side, chosen)
        late = [n for n in chosen if not _known(body, first, n, waiting, at)]
        if not late:
            members = tuple(sorted({*waiting, *chosen}))
            return Group(condition, side, members, tuple(chosen))
        chosen.remove(late[0])


def _waiting(body, first, users, costs, side: int, choices: list[int]) -> set[int]:
    """What only operand `side` of these, or what waits itself, takes."""
    result: set[int] = set()

    def waits(number: int, user: int) -> bool:
        if user in result:
            return True
        args = body[user - first].args if user in choices else ()
        return bool(args) and args[side] == number and args.count(number) == 1

    for number in range(choices[-1] - 1, first - 1, -1):
        if costs[number] and number not in choices and users.get(number):
            if all(waits(number, user) for user in users[number]):
                result.add(number)
    return result


def _known(body: Sequence[Instr], first: int, choice: int, waiting: set[int], at: int) -> bool:
    """Whether all that a choice takes, but what waits, comes before number `at`."""
    todo, seen = [choice], {choice}
    while todo:
        for a in body[todo.pop() - first].args:
            if a in waiting and a not in seen:
                seen.add(a)
                todo.append(a)
            elif a not in waiting and a >= at:
                return False
    return True
