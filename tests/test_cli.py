"""The command line: output, one-line errors, exit statuses. Run in process where that is enough."""

import io
import subprocess
import sys

import numpy as np
import pytest

import charl as ch
from charl import cli, demo
from charl.inspect import doctor
from tests import device


def arrays(n=60, d=6, seed=3):
    """Two well separated clouds."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) // 2 % 2
    return rng.normal(size=(n, d)) + 8.0 * y[:, None], y


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"charl {ch.__version__}\n"


def test_no_command_prints_help(capsys):
    assert cli.main([]) == 2
    assert "demo" in capsys.readouterr().out


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["compile"])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_demo_on_the_digits(capsys):
    assert cli.main(["demo", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "1198 samples to learn from, 599 held out, 64 numbers each" in out
    assert "all checks passed" in out
    for name in (*demo.backends(), "numpy"):
        assert f"\n{name} " in out


def test_demo_with_own_data(tmp_path, capsys):
    x, y = arrays()
    file = tmp_path / "mine.npz"
    np.savez(file, X=x.reshape(60, 2, 3), y=np.array(["low", "high"])[y])
    assert cli.main(["demo", "--data", str(file), "--quiet"]) == 0
    assert "40 samples to learn from, 20 held out, 6 numbers each" in capsys.readouterr().out


def saved(tmp_path, **named):
    file = tmp_path / "bad.npz"
    np.savez(file, **named)
    return file


X, Y = arrays()
BAD = {
    "no y": ({"X": X}, "has no array y"),
    "flat": ({"X": X[:, 0], "y": Y}, "X must be real numbers with 2 axes or more"),
    "text": ({"X": X.astype(str), "y": Y}, "X must be real numbers"),
    "complex": ({"X": X + 1j, "y": Y}, "X must be real numbers"),
    "lengths": ({"X": X, "y": Y[1:]}, "y must have shape (60,)"),
    "not finite": ({"X": np.where(X > 8, np.nan, X), "y": Y}, "not finite"),
    "few": ({"X": X[:2], "y": Y[:2]}, "at least 3 samples"),
    "no numbers": ({"X": X[:, :0], "y": Y}, "at least 3 samples of one number"),
    "objects": ({"X": np.array([[{}]] * 60), "y": Y}, "is not a .npz file that NumPy can read"),
}


@pytest.mark.parametrize("case", BAD)
def test_demo_with_bad_arrays_says_one_line(case, tmp_path, capsys):
    named, expected = BAD[case]
    assert cli.main(["demo", "--data", str(saved(tmp_path, **named))]) == 2
    err = capsys.readouterr().err
    assert err.startswith("charl demo: ") and err.count("\n") == 1
    assert expected in err


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"]
)
def test_demo_with_a_file_that_is_no_npz(content, tmp_path, capsys):
    file = tmp_path / "data.npz"
    file.write_bytes(content)
    assert cli.main(["demo", "--data", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"charl demo: {file}: ") and err.count("\n") == 1


@pytest.mark.parametrize("where", ["missing.npz", "."])
def test_demo_without_a_file(where, tmp_path, capsys):
    assert cli.main(["demo", "--data", str(tmp_path / where)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_single_array_is_no_npz(tmp_path, capsys):
    file = tmp_path / "one.npy"
    np.save(file, X)
    assert cli.main(["demo", "--data", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("xp", [np, ch], ids=["numpy", "charl"])
def test_orthonormal(xp):
    a = np.random.default_rng(0).normal(size=(12, 5)).astype(device.FLOAT)
    q = np.asarray(demo.orthonormal(xp, xp.asarray(a)))
    near = 1e4 * np.finfo(device.FLOAT).eps
    assert np.allclose(q.T @ q, np.eye(5), atol=near)
    assert np.allclose(q @ (q.T @ a), a, atol=near)


def test_components_are_the_eigenvectors():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 6)) * [32, 16, 8, 4, 2, 1]
    x -= x.mean(axis=0)
    found = demo.components(np, x, 2, lambda array: None)
    vectors = np.linalg.eigh(x.T @ x)[1][:, :-3:-1]
    assert np.allclose(found @ found.T, vectors @ vectors.T, atol=1e-6)


def test_faults_are_found():
    truth = np.array([0, 1, 1, 0])
    expected = demo.Answer(truth, np.ones(4, np.float32))
    report = demo.Report("interp", np.array([0, 1, 0, 0]), np.full(4, 1.5, np.float32), 1.0, {})
    found = demo.faults(report, expected, truth, 0.98)
    assert len(found) == 2 and "accuracy 0.75" in found[0] and "5.0e-01" in found[1]


def test_bar_on_a_terminal_and_elsewhere():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown, hidden = Terminal(), io.StringIO()
    for stream in (shown, hidden):
        bar = demo.Bar(2, stream=stream)
        bar.step("one")
        bar.step("two")
        bar.close()
    assert " 50%" in shown.getvalue() and "100%" in shown.getvalue()
    assert hidden.getvalue() == ""


def test_doctor(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in (
        "numpy",
        "llvmlite",
        "interp",
        "disk cache",
        "adapter",
        "wgpu",
        "works",
    ):
        assert word in out


def test_doctor_says_how_to_get_what_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "failure", lambda module: "ImportError: no")
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    assert any("pip install llvmlite" in text for _, text in doctor.backends())
    assert any("pip install wgpu" in text for _, text in doctor.adapters())


def test_bench_without_the_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["bench", "--quick"]) == 2
    assert "source repository" in capsys.readouterr().err


def test_python_m_charl():
    done = subprocess.run([sys.executable, "-m", "charl", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "doctor" in done.stdout
