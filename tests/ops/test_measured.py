"""The command that measures errors: its distances by hand, and a small run of it."""

import numpy as np
import pytest

from benchmarks import accuracy

INF, NAN = np.inf, np.nan
TOP = float(np.finfo(np.float32).max)
LEAST = 2.0**-149


@pytest.mark.parametrize(
    "got, exact, ulps",
    [
        (1.0, 1.0, 0),
        (1.0, 1 + 2.0**-24, 0.5),
        (1.0, 1 - 2.0**-24, 1),  # the exact value's binade counts
        (2 * LEAST, LEAST, 1),
        (0.0, LEAST / 4, 0.25),
        (-0.0, LEAST / 4, INF),
        (0.0, -0.0, INF),
        (NAN, NAN, 0),
        (NAN, 1.0, INF),
        (1.0, NAN, INF),
        (INF, INF, 0),
        (INF, 1e300, 0),
        (-INF, INF, INF),
        (INF, TOP, 1),
        (TOP, INF, INF),
    ],
)
def test_distances_in_ulp(got, exact, ulps):
    with np.errstate(all="ignore"):
        for wide in (np.float64, np.longdouble):
            assert accuracy.errors(np.array([got], np.float32), np.array([exact], wide))[0] == ulps


@pytest.mark.parametrize("name", ["exp", "erf", "atan2", "pow"])
def test_the_command_measures(name, capsys):
    assert accuracy.main([name, "--samples", "2000"]) == 0
    assert capsys.readouterr().out.count(name) == 2


def test_the_command_records_in_order(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"text\n\n{accuracy.HEADING}\n\n| function |\n|---|\n")
    monkeypatch.setattr(accuracy, "PAGE", page)
    for name, column, text in (
        ("b", 1, "one"),
        ("a", 2, "two"),
        ("b", 2, "three"),
        ("b", 1, "four"),
    ):
        accuracy.record(name, column, text)
    lines = page.read_text().splitlines()[4:]
    assert lines == ["| function |", "|---|", "| `a` |  | two |", "| `b` | four | three |"]
