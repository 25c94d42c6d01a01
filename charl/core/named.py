"""NamedTuple: tuples with named fields, as typing.NamedTuple makes them, at an eighth of the time a class.

typing compiles the text of each annotation and namedtuple a `__new__`: 0.17 ms a class, of which an
import and a first result need thirty. Here classes of as many fields share a `__new__` but for the
names.
"""

from __future__ import annotations

from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from _collections import _tuplegetter as getter

    class NamedTuple(tuple):
        """Base of classes whose annotated names are fields, some of the last with defaults."""

        __slots__ = ()

        def __init_subclass__(cls) -> None:
            fields = cls._fields = cls.__match_args__ = tuple(cls.__annotations__)
            defaults = tuple(cls.__dict__[name] for name in fields if name in cls.__dict__)
            code = _code(len(fields)).replace(co_varnames=("cls", *fields))
            cls.__new__ = FunctionType(code, {"new": tuple.__new__}, "__new__", defaults)
            for k, name in enumerate(fields):
                setattr(cls, name, getter(k, None))

        def __getnewargs__(self) -> tuple:
            return tuple(self)

        def __repr__(self) -> str:
            pairs = (f"{n}={v!r}" for n, v in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(pairs)})"

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named):
            return type(self)(**{**self._asdict(), **named})


@cache
def _code(fields: int) -> CodeType:
    """The code of a `__new__` with so many fields."""
    names = "".join(f"v{k}, " for k in range(fields))
    made = eval(f"lambda cls, {names}: new(cls, ({names}))").__code__
    return made.replace(co_name="__new__", co_qualname="__new__")
