"""Settings: each declared once, with type, default, environment name and one line of meaning.

`config.NAME` is a plain attribute read. Compiled code that mirrors a setting in a C variable either
compares `config.generation`, which grows with every change, or is told of changes:
`config.watch(callback)`. docs/settings.md is `markdown()`; a test keeps it current.
"""

from __future__ import annotations

import operator
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from charl.core.named import NamedTuple


class Setting(NamedTuple):
    """kind is "choice", "bool", "int", "path", "text", "device", "names" (some of the choices, by
    comma), or "limits" (choice=int, by comma).
    `allowed`: the choices, or (least, greatest) of an int.
    """

    name: str
    kind: str
    default: object
    allowed: tuple
    doc: str

    @property
    def env(self) -> str:
        return "CHARL_" + self.name.upper()


_MOST = 2**62

SETTINGS = (
    Setting(
        "backend",
        "choice",
        "auto",
        ("auto", "llvm", "interp"),
        "what runs kernels: machine code (llvm), the interpreter (interp), or the interpreter "
        "until machine code is ready (auto)",
    ),
    Setting(
        "opt_level",
        "choice",
        "default",
        ("none", "less", "default", "aggressive"),
        "how hard LLVM optimises; no level changes a value",
    ),
    Setting(
        "wait",
        "choice",
        "auto",
        ("auto", "never", "always"),
        "under backend auto: whether a launch waits for machine code (auto: where waiting is "
        "estimated to be cheaper than interpreting)",
    ),
    Setting(
        "eager", "bool", False, (), "realize every operation at its call instead of recording it"
    ),
    Setting(
        "num_threads",
        "int",
        0,
        (0, 1024),
        "threads that a launch may use; 0: as many as the affinity mask and cgroup quota allow",
    ),
    Setting("default_device", "device", "cpu", (), "where new arrays live: cpu, gpu, gpu:1, ..."),
    Setting(
        "gpu_fallback",
        "choice",
        "error",
        ("error", "warn", "cpu"),
        "what a GPU cannot run raises TypeError (error), or runs on the cpu, with a warning or without",
    ),
    Setting("disk_cache", "bool", True, (), "keep compiled kernels on disk between processes"),
    Setting(
        "cache_dir", "path", "", (), "directory of that cache; empty: the user's cache directory"
    ),
    Setting(
        "debug",
        "int",
        0,
        (0, 5),
        "print to stderr, each level more: 1 kernels and times, 2 schedules, 3 each pass, "
        "4 source, 5 assembly",
    ),
    Setting(
        "dump", "path", "", (), "directory that receives what `debug` would print; empty: none"
    ),
    Setting(
        "verify", "bool", False, (), "check graph and kernels after each pass (slow; for tests)"
    ),
    Setting(
        "pending_nodes",
        "int",
        64,
        (1, _MOST),
        "length of a chain of pending operations after which all pending work is realized; "
        "twice as long on a GPU",
    ),
    Setting(
        "pending_bytes",
        "int",
        1 << 30,
        (1, _MOST),
        "bytes that pending results may amount to before they are realized",
    ),
    Setting(
        "plan_cache",
        "int",
        4096,
        (1, _MOST),
        "plans kept in memory, least recently used dropped first",
    ),
    Setting(
        "kernel_cache",
        "int",
        4096,
        (1, _MOST),
        "kernels kept in memory, least recently used dropped first",
    ),
    Setting(
        "parallel_work",
        "int",
        0,
        (0, _MOST),
        "element operations that each thread must at least get; 0: by the time that launches take",
    ),
    Setting(
        "hot_launches",
        "int",
        32,
        (1, _MOST),
        "launches of a quickly compiled kernel after which it is optimised fully",
    ),
    Setting(
        "memory_limit",
        "int",
        0,
        (0, _MOST),
        "bytes of arrays that may be allocated at once; 0: no limit",
    ),
    Setting(
        "gpu_adapter",
        "text",
        "",
        (),
        "text in the name of the GPU that is the first one; empty: real GPUs before software ones",
    ),
    Setting(
        "gpu_mask",
        "names",
        "",
        ("f64", "i64", "f16", "subgroup", "timestamp"),
        "features of GPUs that are left unused, as if they had them not",
    ),
    Setting(
        "gpu_limits",
        "limits",
        "",
        (
            "max-buffer-size",
            "max-storage-buffer-binding-size",
            "max-storage-buffers-per-shader-stage",
            "max-compute-invocations-per-workgroup",
            "max-compute-workgroup-size-x",
            "max-compute-workgroup-storage-size",
            "max-compute-workgroups-per-dimension",
        ),
        "limits of GPUs that are taken to be lower than they are, to see work cut and split: "
        "limit=number, by comma, under WebGPU's names",
    ),
    Setting(
        "gpu_memory_limit",
        "int",
        0,
        (0, _MOST),
        "bytes of one GPU's memory that may be allocated at once; 0: no limit",
    ),
)
BY_NAME = {s.name: s for s in SETTINGS}

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def checked(setting: Setting, value: Any, where: str) -> object:
    """`value` as the setting holds it. Raises TypeError or ValueError that begins with `where`."""
    if setting.kind == "choice":
        if not isinstance(value, str):
            raise TypeError(f"{where}: must be a str, got {type(value).__name__}")
        if value not in setting.allowed:
            raise ValueError(f"{where}: must be one of {', '.join(setting.allowed)}; got {value!r}")
        return value
    if setting.kind == "bool":
        if not isinstance(value, bool):
            raise TypeError(f"{where}: must be True or False, got {value!r}")
        return value
    if setting.kind in ("text", "names", "limits", "device"):
        if not isinstance(value, str):
            raise TypeError(f"{where}: must be a str, got {type(value).__name__}")
        if setting.kind == "device":
            if not re.fullmatch(r"cpu|gpu(:\d{1,2})?", value):
                raise ValueError(f"{where}: must be cpu, gpu, or gpu: and a number; got {value!r}")
            return value
        if setting.kind == "text":
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        for given in names:
            name, _, size = given.partition("=") if setting.kind == "limits" else (given, "", "1")
            if name not in setting.allowed or not re.fullmatch(r"[1-9]\d{0,18}", size):
                each = "NAME=NUMBER" if setting.kind == "limits" else "NAME"
                allowed = ", ".join(setting.allowed)
                raise ValueError(f"{where}: must be {each}, by comma, of {allowed}; got {given!r}")
        return ",".join(names)
    if setting.kind == "path":
        try:
            value = os.fspath(value)
        except TypeError:
            value = None
        if not isinstance(value, str):
            raise TypeError(f"{where}: must be a path")
        return value
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{where}: must be an int, got {value!r}")
    least, most = setting.allowed
    if not least <= number <= most:
        raise ValueError(f"{where}: must be {least} to {most}, got {number}")
    return number


def from_text(setting: Setting, text: str) -> object:
    """The value that an environment variable's text states. Raises ValueError naming the variable."""
    where = f"environment variable {setting.env}"
    value: Any = text.strip()
    if setting.kind == "bool":
        if value.lower() not in _TRUE + _FALSE:
            raise ValueError(f"{where}: must be 1 or 0, got {text!r}")
        value = value.lower() in _TRUE
    elif setting.kind == "int":
        try:
            value = int(value)
        except ValueError:
            raise ValueError(f"{where}: must be an int, got {text!r}") from None
    return checked(setting, value, where)


class Config:
    """The settings of this process, as attributes; they hold for all threads.

    Assigning validates: `config.backend = "interp"`. `config.set(backend=..., debug=1)` assigns
    several, all or none. `with config(backend="interp"):` restores the former values at the end of
    the block.
    """

    __slots__ = (*BY_NAME, "generation", "_watchers", "_lock")

    def __init__(self, environ: Mapping[str, str] | None = None):
        given = os.environ if environ is None else environ
        put = object.__setattr__
        for setting in SETTINGS:
            text = given.get(setting.env)
            put(self, setting.name, setting.default if text is None else from_text(setting, text))
        put(self, "generation", 0)
        put(self, "_watchers", ())
        put(self, "_lock", threading.RLock())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: object) -> None:
        self.set(**{name: value})

    def set(self, **values: object) -> None:
        """Assigns all of `values`. Raises AttributeError, TypeError or ValueError, and then assigns
        none.
        """
        found = {}
        for name, value in values.items():
            if name not in BY_NAME:
                raise AttributeError(f"config: no setting {name!r}; there are {', '.join(BY_NAME)}")
            found[name] = checked(BY_NAME[name], value, f"config.{name}")
        with self._lock:
            changed = {name: value for name, value in found.items() if getattr(self, name) != value}
            for name, value in changed.items():
                object.__setattr__(self, name, value)
            if changed:
                object.__setattr__(self, "generation", self.generation + 1)
                for watcher in self._watchers:
                    watcher(changed)

    def __call__(self, **values: object) -> _Temporary:
        """A context manager that assigns `values` on entry and the former values on exit."""
        for name, value in values.items():
            if name not in BY_NAME:
                raise AttributeError(f"config: no setting {name!r}; there are {', '.join(BY_NAME)}")
            checked(BY_NAME[name], value, f"config.{name}")
        return _Temporary(self, values)

    def watch(self, callback: Callable[[dict], None], *, now: bool = True) -> None:
        """Calls callback({name: value, ...}) after each change; `now`: first with all current
        values.
        """
        with self._lock:
            object.__setattr__(self, "_watchers", (*self._watchers, callback))
            if now:
                callback(self.as_dict())

    def as_dict(self) -> dict[str, object]:
        """All settings by name."""
        return {name: getattr(self, name) for name in BY_NAME}

    def __dir__(self) -> list[str]:
        return sorted([*BY_NAME, "generation", "set", "watch", "as_dict"])

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{k}={v!r}" for k, v in self.as_dict().items()) + ")"


class _Temporary:
    """Entered: the new values hold; left: the former ones again. Re-entrant by nesting."""

    __slots__ = ("_config", "_former", "_values")

    def __init__(self, config: Config, values: dict):
        self._config, self._values = config, values
        self._former: list[dict] = []

    def __enter__(self) -> Config:
        self._former.append({name: getattr(self._config, name) for name in self._values})
        self._config.set(**self._values)
        return self._config

    def __exit__(self, *error: object) -> None:
        self._config.set(**self._former.pop())


config = Config()


def markdown() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Read and assigned as `charl.config.NAME`, for a block by",
        "`with charl.config(NAME=value):`, or given in the environment before Python starts.",
        "They hold for the whole process. Made by `markdown()` of `charl/core/settings.py`.",
        "",
        "| setting | environment | values | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for s in SETTINGS:
        if s.kind == "choice":
            values = " \\| ".join(s.allowed)
        elif s.kind == "int":
            values = (
                f"{s.allowed[0]}..."
                if s.allowed[1] == _MOST
                else f"{s.allowed[0]}...{s.allowed[1]}"
            )
        else:
            values = {
                "bool": "True \\| False (1 \\| 0)",
                "path": "path",
                "text": "text",
                "device": "cpu \\| gpu \\| gpu:N",
                "names": ", ".join(s.allowed),
                "limits": ", ".join(f"{name}=N" for name in s.allowed),
            }[s.kind]
        lines.append(f"| `{s.name}` | `{s.env}` | {values} | `{s.default!r}` | {s.doc} |")
    return "\n".join(lines) + "\n"
