"""The examples in docstrings of everything public, compiled modules included, and in README.md."""

import doctest
import inspect
from pathlib import Path

import pytest

import charl as ch
from tests import device

ROOT = Path(__file__).resolve().parent.parent
if device.FLOAT.itemsize < 8:  # what is printed would have other dtypes
    pytestmark = pytest.mark.cpu
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
DOCUMENTS = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()
]


def public():
    """(name, object) of the namespace, its modules' functions and its classes' methods."""
    for name in sorted(dir(ch)):
        thing = getattr(ch, name)
        if name.startswith("_"):
            continue
        yield name, thing
        if inspect.ismodule(thing) and thing.__name__.startswith("charl."):
            for inner in getattr(thing, "__all__", ()):
                yield f"{name}.{inner}", getattr(thing, inner)
        if inspect.isclass(thing) and (thing.__module__ or "").startswith("charl"):
            for inner in vars(thing):
                if not inner.startswith("_"):
                    yield f"{name}.{inner}", getattr(thing, inner)


CASES = [
    (name, thing.__doc__)
    for name, thing in public()
    if isinstance(getattr(thing, "__doc__", None), str) and ">>>" in thing.__doc__
]


@pytest.mark.parametrize("name, text", CASES, ids=[name for name, _ in CASES])
def test_docstring(name, text):
    run(text, name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document(path):
    for part in path.read_text().split("```python\n")[1:]:
        block = part.split("```")[0]
        if ">>>" in block:
            run(block, path.name)
        else:
            exec(compile(block, str(path), "exec"), {})


def run(text, name):
    """Runs the examples of a text. Fails with doctest's report."""
    examples = doctest.DocTestParser().get_doctest(
        inspect.cleandoc(text), {"ch": ch}, name, name, 0
    )
    said = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(examples, out=said.append)
    assert runner.failures == 0, "".join(said)
