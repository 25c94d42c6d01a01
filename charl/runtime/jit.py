"""LLVM text -> machine code, on one background thread. The only importer of llvmlite, on first use.

    submit(key, make_text, done)      from any thread; key is the kernel's own text
      disk cache                      hit: straight to link
      make_text()                     an emitter's text
      parse -> verify -> passes -> object -> disk cache
      link                            ORC LLJIT; `done(address, owner)` takes the code into use

All calls of LLVM are made under one lock, and by the compile thread but in tests. fork() waits for
that lock, so a child finds LLVM at rest; it starts a compile thread of its own when it needs one.
Code stays mapped as long as its Owner lives; Owners may die in any thread, since the compile thread
does the unmapping.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import threading
import warnings
import weakref
from collections.abc import Callable

from charl.core.errors import InternalError
from charl.core.named import NamedTuple
from charl.core.settings import config
from charl.runtime import diskcache
from charl.runtime.background import Job, Worker

OPT_LEVELS = ("none", "less", "default", "aggressive")
QUICK = 0  # the opt_level of the quick tier: a third of the time, a fifth slower in arithmetic
LINKS = 2000  # of one LLJIT, which leaks 9 KB a link and slows down
# JITLink maps an object as one piece. LLVM's older linker, the one for Windows, maps code and
# constants apart, and aborts where much lies between: NVIDIA's driver reserves gigabytes.
JITLINK = os.name != "nt"

_busy = threading.Lock()  # held while LLVM works
_llvmlite = None


class Machine(NamedTuple):
    """What codegen.host.Host needs to know, in its order."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    f16c: bool


def _llvm():
    """llvmlite.binding, initialised. Raises ImportError or RuntimeError."""
    global _llvmlite
    if _llvmlite is None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.check_jit_execution()
        _llvmlite = llvm
    return _llvmlite


_availability: tuple[bool, str] | None = None


def available() -> tuple[bool, str]:
    """Whether machine code can be made here, and if not, why. Loads llvmlite."""
    global _availability
    if _availability is None:
        try:
            with _busy:
                llvm = _llvm()
            _availability = True, f"LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            _availability = (
                False,
                f"llvmlite cannot be used ({error}); `pip install llvmlite` gets it",
            )
    return _availability


_machine: Machine | None = None


def machine() -> Machine:
    """This machine, as code is generated for it: `codegen.host.Host(*jit.machine())`. Raises what
    `available` explains.
    """
    global _machine
    if _machine is None:
        with _busy:
            llvm = _llvm()
            triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
            try:
                features = llvm.get_host_cpu_features().flatten()
            except RuntimeError:
                features = ""
        has = {name[1:] for name in features.split(",") if name.startswith("+")}
        wide = 16
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= has:
            wide = 64
        elif {"avx2", "fma"} <= has:
            wide = 32
        _machine = Machine(triple, cpu, features, wide, "f16c" in has)
    return _machine


# -- compile and link ------------------------------------------------------------------------------


class _Session:
    """One LLJIT. It is closed when it has been left and none of its code is mapped any more."""

    def __init__(self, lljit):
        self.lljit = lljit
        self.links = self.mapped = 0
        self.left = False
        self.live: weakref.WeakSet[Owner] = weakref.WeakSet()
        _sessions.add(self)

    def close_if_unused(self) -> None:
        if self.left and not self.mapped:
            _sessions.discard(self)
            self.lljit.close()


# llvmlite's objects free themselves when collected, in any thread and order: these references
# prevent it.
_sessions: set[_Session] = set()
_mapped: dict[int, tuple[object, _Session]] = {}  # number of the link -> its tracker
_links = itertools.count()


class Owner:
    """Keeps linked code mapped. Drop it only when no thread can be running that code."""

    __slots__ = ("__weakref__", "done", "number", "object")

    def __init__(self, number: int, object: bytes):
        self.number, self.object = number, object
        self.done: Callable | None = None

    def __del__(self):
        if _compiler is not None:  # the interpreter clears modules at its end
            _compiler.worker.inbox.put(self.number)


def _unmap(number: int) -> None:
    """Unmaps code that nobody runs any more."""
    with _busy:
        tracker, session = _mapped.pop(number)
        try:
            tracker.close()
        except RuntimeError:
            pass  # the code stays mapped
        session.mapped -= 1
        session.close_if_unused()


class Jit:
    """Compiles and links. Its methods may be called from one thread at a time."""

    def __init__(self, links: int = LINKS):
        self.links = links
        self._session: _Session | None = None
        self._targets: dict[int, object] = {}

    def compile(self, text: str, opt_level: str = "default", tier: str = "full") -> bytes:
        """An object file. Raises InternalError for text that LLVM does not accept."""
        return self._compile(text, opt_level, tier, "emit_object")

    def assembly(self, text: str, opt_level: str = "default", tier: str = "full") -> str:
        """The machine code of `compile`, to be read."""
        return self._compile(text, opt_level, tier, "emit_assembly")

    def _compile(self, text: str, opt_level: str, tier: str, emit: str):
        level = OPT_LEVELS.index(opt_level)
        if tier == "quick":
            level = min(level, QUICK)
        info = machine()
        with _busy:
            made, wrong = self._compile_locked(info, text, level, emit)
        if wrong:
            raise InternalError(f"jit: LLVM does not accept the text: {wrong}", text)
        return made

    def _compile_locked(self, info: Machine, text: str, level: int, emit: str):
        """(what `emit` gives, what is wrong). Objects of LLVM must not outlive this call, not even
        in a traceback: they are freed under the lock.
        """
        llvm = _llvm()
        if level not in self._targets:
            found = llvm.Target.from_triple(info.triple)
            self._targets[level] = found.create_target_machine(
                cpu=info.cpu, features=info.features, opt=level, reloc="pic", codemodel="small"
            )
        target = self._targets[level]
        try:
            with llvm.parse_assembly(text, llvm.create_context()) as module:
                module.verify()
                if level:
                    _optimise(llvm, module, target, level)
                return getattr(target, emit)(module), ""
        except RuntimeError as error:
            return None, str(error) or "no reason given"

    def link(self, object: bytes) -> tuple[int, Owner]:
        """The address of @kernel, and what keeps it there."""
        with _busy:
            llvm = _llvm()
            if self._session is None:
                self._session = _Session(llvm.create_lljit_compiler(use_jit_link=JITLINK))
            session = self._session
            library = llvm.JITLibraryBuilder().add_object_img(object).add_current_process()
            number = next(_links)
            tracker = library.export_symbol("kernel").link(session.lljit, f"charl{number}")
            session.links += 1
            session.mapped += 1
            _mapped[number] = tracker, session
            owner = Owner(number, object)
            session.live.add(owner)
            return tracker["kernel"], owner

    def abandon(self) -> None:
        """The next link opens a new LLJIT; this one goes when its Owners have gone."""
        session, self._session = self._session, None
        if session is not None:
            session.left = True
            with _busy:
                session.close_if_unused()

    def renew(self) -> list[Owner]:
        """If this LLJIT has seen enough links: leaves it to its Owners, who are returned, to be
        linked anew. Most of its links must be dead by then, or moving would cost more than it frees.
        """
        old = self._session
        if old is None or old.links < max(self.links, 2 * len(old.live)):
            return []
        live = list(old.live)
        self.abandon()
        return live


def _optimise(llvm, module, target, level: int) -> None:
    """The passes of an opt_level. None of them changes a value: the text has no flag for it.

    less        variables into registers, simple control flow
    default     and instruction combining, dead code
    aggressive  and LLVM's own pipeline: inlining, DCE, GVN, CFG simplification, instruction
                combining, reassociation (of integers), memcpyopt, SCCP. Its vectorisers and
                unrollers are off: the text has chosen already.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=3 if level == 3 else 1)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    if level == 3:
        builder.getModulePassManager().run(module, builder)
        return
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    if level >= 2:
        passes.add_instruction_combine_pass()
        passes.add_dead_code_elimination_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)


# -- jobs ------------------------------------------------------------------------------------------


class Compiler:
    """What the compile thread works with, and what it has counted."""

    def __init__(self):
        self.worker = Worker("charl-compile", _unmap, self._failed)
        self.jit = Jit()
        self.counters = {"compiles": 0, "disk_hits": 0, "failures": 0, "links": 0}
        self.last_error: BaseException | None = None
        self._warned = False
        self._identity = ""

    def make(self, key: str, make_text, done: Callable, tier: str, opt_level: str) -> None:
        """One kernel: from the disk cache or from its text, into use."""
        cache, linked = diskcache.current(), None
        name = diskcache.key_of(key, tier, opt_level, self._version()) if cache else ""
        data = cache.get(name) if cache else None
        if data is not None:
            try:
                linked = self.jit.link(data)
                self.counters["disk_hits"] += 1
            except RuntimeError:
                data = None
        fresh = data is None
        if data is None:
            data = self.jit.compile(make_text(), opt_level, tier)
            self.counters["compiles"] += 1
        self._use(done, *(linked or self.jit.link(data)))
        if fresh and cache:
            cache.put(name, data)
        for old in self.jit.renew():
            if old.done is not None:
                self._use(old.done, *self.jit.link(old.object))

    def _use(self, done: Callable, address: int, owner: Owner) -> None:
        self.counters["links"] += 1
        owner.done = done
        done(address, owner)

    def _failed(self, error: BaseException) -> None:
        self.counters["failures"] += 1
        self.last_error = error
        if not self._warned:
            self._warned = True
            what = f"charl: a kernel could not be compiled and stays interpreted: {error}"
            try:
                warnings.warn(what, RuntimeWarning, 2)
            except Warning:
                pass  # warnings are errors here; the counter tells

    def _version(self) -> str:
        """All that code depends on, but for the kernel and how it is optimised."""
        if not self._identity:
            info = machine()
            with _busy:
                version = _llvm().llvm_version_info
            self._identity = "\n".join([*map(str, info), str(version), diskcache.fingerprint()])
        return self._identity


_compiler = Compiler()


def submit(
    key: str,
    make_text: Callable[[], str],
    done: Callable[[int, Owner], None],
    priority: float = 0,
    *,
    tier: str = "quick",
    opt_level: str | None = None,
) -> Job:
    """Compiles in the background; lower priorities first.

    key: the kernel's text, all that its code depends on beside the host, the tier and the
    opt_level. make_text() gives the LLVM text and done(address, owner) takes the code into use;
    both are called on the compile thread. done may be called again, with other code for the same
    kernel. opt_level is config's unless stated. If anything fails, done is not called and
    `Job.error` says why.
    """
    level = opt_level or config.opt_level
    task = functools.partial(_compiler.make, key, make_text, done, tier, level)
    return _compiler.worker.submit(task, priority)


def drain(timeout: float | None = None) -> bool:
    """Waits for all jobs that are pending now. Returns False on a timeout of seconds."""
    return _compiler.worker.drain(timeout)


def counters() -> dict[str, int]:
    """compiles (by LLVM), disk_hits, failures, links, pending, and the disk cache's, as disk_*."""
    pending = len(_compiler.worker.pending())
    return {**_compiler.counters, "pending": pending, **diskcache.counters()}


def last_error() -> BaseException | None:
    """What the latest failure was."""
    return _compiler.last_error


def _after_fork_in_child() -> None:
    _busy.release()
    _compiler.jit.abandon()
    _compiler.worker.after_fork()


def _at_exit() -> None:
    """Code stays mapped: other atexit functions, and threads that are left, may run it."""
    _compiler.worker.stop()
    for tracker, _ in list(_mapped.values()):
        tracker.detach()
    for session in _sessions:
        session.lljit.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_busy.acquire, after_in_parent=_busy.release, after_in_child=_after_fork_in_child
    )
try:
    threading._register_atexit(_at_exit)  # ahead of the interpreter's joining of threads
except (AttributeError, RuntimeError):
    atexit.register(_at_exit)
