"""core/settings.py: values from the environment, validation, temporary changes, notifications, the
page made of it.
"""

from pathlib import Path

import pytest

from charl.core.settings import SETTINGS, Config, markdown

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_defaults_and_environment():
    config = Config({"CHARL_BACKEND": "interp", "CHARL_EAGER": "1", "CHARL_NUM_THREADS": "3"})
    assert (config.backend, config.eager, config.num_threads) == ("interp", True, 3)
    assert config.opt_level == "default" and config.debug == 0
    assert Config({}).as_dict() == {s.name: s.default for s in SETTINGS}


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("CHARL_BACKEND", "gpu", "must be one of auto, llvm, interp"),
        ("CHARL_EAGER", "maybe", "must be 1 or 0"),
        ("CHARL_DEBUG", "9", "must be 0 to 5"),
        ("CHARL_NUM_THREADS", "two", "must be an int"),
        ("CHARL_GPU_MASK", "f64,f8", "must be NAME, by comma, of f64.*; got 'f8'"),
        ("CHARL_GPU_LIMITS", "max-buffer-size=-1", "must be NAME=NUMBER, by comma.*got 'max"),
        ("CHARL_GPU_LIMITS", "most-buffers=3", "must be NAME=NUMBER, by comma.*got 'most"),
    ],
)
def test_a_bad_environment_names_the_variable(name, text, message):
    with pytest.raises(ValueError, match=f"environment variable {name}: {message}"):
        Config({name: text})


def test_assignment_validates():
    config = Config({})
    config.backend = "llvm"
    assert config.backend == "llvm"
    with pytest.raises(ValueError, match="config.opt_level: must be one of"):
        config.opt_level = "fast"
    with pytest.raises(TypeError, match="config.eager: must be True or False"):
        config.eager = 1
    with pytest.raises(TypeError, match="config.debug: must be an int"):
        config.debug = True
    with pytest.raises(AttributeError, match="no setting 'bakcend'"):
        config.bakcend = "llvm"
    with pytest.raises(AttributeError):
        config.generation = 5


def test_set_assigns_all_or_none():
    config = Config({})
    with pytest.raises(ValueError):
        config.set(backend="interp", debug=77)
    assert config.backend == "auto"


def test_temporary_values_are_restored_after_an_error_and_nest():
    config = Config({"CHARL_DEBUG": "2"})
    block = config(backend="interp", debug=0)
    with pytest.raises(KeyError), block:
        assert (config.backend, config.debug) == ("interp", 0)
        with config(debug=1), block:
            assert config.debug == 0
        assert config.debug == 0
        raise KeyError
    assert (config.backend, config.debug) == ("auto", 2)
    with pytest.raises(ValueError):
        config(backend="none")


def test_watchers_and_generation_see_changes_only():
    config = Config({})
    seen = []
    config.watch(seen.append)
    assert seen.pop() == config.as_dict()
    generation = config.generation
    config.set(backend="auto")
    assert not seen and config.generation == generation
    config.set(backend="interp", debug=0, eager=True)
    assert seen == [{"backend": "interp", "eager": True}] and config.generation == generation + 1


def test_the_page_is_current():
    assert DOCS.read_text() == markdown(), "write markdown() to docs/settings.md"
