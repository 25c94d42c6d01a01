"""charl tune: what it tries is checked, what it finds is kept, and no value moves."""

import numpy as np
import pytest

import charl as ch
from charl import cli, runtime
from charl.codegen.wgsl import Tiling
from charl.inspect import tune

gpu = pytest.mark.skipif(
    "gpu" not in ch.devices(),
    reason="no adapter; Debian's package mesa-vulkan-drivers has a software one",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A disk cache of its own, and a device that is opened with it."""
    monkeypatch.setattr(tune, "QUICK", tune.Effort(rounds=1, seconds=1e-6))
    ch.gpu.reset()
    with ch.config(cache_dir=str(tmp_path)):
        yield tmp_path
    ch.gpu.reset()


@gpu
def test_what_is_found_is_used_by_all_that_open_the_device(cache, capsys):
    assert runtime.gpu.device().tiling == ()
    assert cli.main(["tune", "--quick", "--quiet"]) == 0
    out = capsys.readouterr().out
    for group in tune.GROUPS:
        assert f"\n{group.name}" in out
    found = runtime.gpu.device().tiling
    assert len(found) == len(Tiling()) and all(size & (size - 1) == 0 for size in found)
    ch.gpu.reset()
    assert runtime.gpu.device().tiling == found
    assert "; tuned" in runtime.gpu.describe()[0]
    with ch.config(disk_cache=False):
        ch.gpu.reset()
        assert runtime.gpu.device().tiling == ()


@gpu
@pytest.mark.parametrize("fill", [b"", b"junk", b"3 4", b"-4", b"99999999999", b"4 " * 40])
def test_an_entry_that_makes_no_sense_is_not_used(cache, fill):
    adapter = runtime.gpu.adapters()[0]
    key = runtime.tuning._key(adapter.name, adapter.driver)
    assert runtime.diskcache.current().put(key, fill)
    ch.gpu.reset()
    assert runtime.gpu.device().tiling == ()


@gpu
def test_an_entry_is_of_one_driver(cache):
    assert runtime.tuning.save("one", "1.0", (64, 4))
    assert runtime.tuning.load("one", "1.0") == (64, 4)
    assert runtime.tuning.load("one", "1.1") == runtime.tuning.load("two", "1.0") == ()


@gpu
def test_a_variant_with_other_bits_is_reported_and_nothing_kept(cache, monkeypatch, capsys):
    monkeypatch.setattr(tune.Trial, "same", lambda self, tiling: tiling == self.usual)
    assert tune.main("gpu", quick=True, progress=False) == 1
    assert "gives other bits" in capsys.readouterr().err
    assert runtime.gpu.device().tiling == ()
    ch.gpu.reset()
    assert runtime.gpu.device().tiling == ()


@gpu
def test_results_that_are_not_numpys_are_reported(cache, monkeypatch, capsys):
    class Lying:
        def __getattr__(self, name):
            return getattr(np, name)

        def abs(self, x):
            return np.abs(x) + 1

    monkeypatch.setattr(tune, "np", Lying())
    assert tune.main("gpu", quick=True, progress=False) == 1
    assert "rows: the usual sizes differ from NumPy" in capsys.readouterr().err


@gpu
def test_sizes_stay_within_the_device(cache):
    with ch.config(gpu_limits="max-compute-invocations-per-workgroup=64"):
        ch.gpu.reset()
        device = runtime.gpu.device()
        for group in tune.GROUPS:
            trial = tune.Trial(group, device, "gpu", tune.QUICK)
            found = trial.variants()
            assert found[0] == Tiling() and len(set(found)) == len(found) > 1
            for variant in found[1:]:
                for field in group.fields:
                    threads = {"side": variant.side**2}.get(field, getattr(variant, field))
                    assert threads <= 64
                assert trial.same(variant)
        ch.gpu.reset()


@pytest.mark.parametrize("device", ["cpu", "tpu", "gpu:x", "gpu:77"])
def test_no_such_device(device, capsys):
    assert cli.main(["tune", "--device", device, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("charl tune: ") and err.count("\n") == 1
