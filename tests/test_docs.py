"""The pages made from tables are current, and what the pages name exists."""

import re
from pathlib import Path

import pytest

from charl.inspect import accuracy

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
NAMED = re.compile(r"`((?:charl|csrc|tests|docs|benchmarks|\.ci)/[\w./-]*)`")


def test_accuracy_is_made_from_the_op_table():
    page = (ROOT / "docs" / "accuracy.md").read_text()
    assert page.startswith(accuracy.markdown() + "\n## Measured\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_paths_that_a_page_names_exist(page):
    for name in NAMED.findall(page.read_text()):
        assert (ROOT / name).exists() or name == "csrc/gen/ops.h", f"{page.name} names {name}"


def test_the_readme_has_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "\n    pip install . && charl demo\n" in text
    assert "\n    pip install '.[test]' && pytest\n" in text
