"""Tiers of a Program: the interpreter at once, machine code from LLVM behind it, optimised fully
once hot.

The engine's slow half: it decides when a compile starts and whether a launch waits for one. All
functions but `drain` are called with the engine lock held; a finished compile reports on the
compile thread, with the GIL.
"""

from __future__ import annotations

import os
import sys
import time
import weakref

from charl import codegen, runtime, schedule
from charl.core.errors import BackendUnavailable
from charl.core.lazy import loaded
from charl.core.settings import config
from charl.runtime import interp
from charl.runtime.launch import Program

IDLE, QUEUED, FAILED = 0, 1, 2  # Program.state
QUICK, FULL = 1, 2  # Program.tier
COMPILE_THREAD = "charl-compile"  # as runtime.jit names it
clock = time.perf_counter_ns

# What a first compile takes, as a running mean; the very first one also loads LLVM.
_latency_ns = 250e6
_dumped = 0  # files written into config.dump


def interpret(program: Program) -> None:
    """Gives a new Program its first tier."""
    code = interp.Bytecode(codegen.bytecode.encode(program.kernel))
    program.interpret(interp.ENTRY, code.address, code.scratch_bytes, code)


def submit(program: Program, interpreted_ns: float) -> None:
    """Queues the next tier's compile of an idle Program: those that are interpreted longest first."""
    # a contraction compiled quickly runs at a tenth of its speed: it has one tier
    contraction = isinstance(program.kernel, schedule.kernel.Contract)
    tier = QUICK if program.tier == 0 and not contraction else FULL
    kernel, started = program.kernel, 0
    held = weakref.ref(program, lambda _: job.cancel())  # what nobody can run is not compiled
    generation = program.generation

    def make_text() -> str:
        nonlocal started
        started = clock()
        return codegen.llvm.emit(
            kernel, codegen.host.Host(*runtime.jit.machine()), ("quick", "full")[tier - 1]
        )

    def done(address: int, owner: object) -> None:
        """Takes code into use; called again if the code moves."""
        global _latency_ns
        target = held()
        if target is None or target.generation != generation or tier < target.tier:
            return
        if target.tier == 0 and started:
            _latency_ns += (clock() - started - _latency_ns) / 2
        target.machine(address, owner, tier)
        target.state, target.job = IDLE, None

    if (config.debug >= 4 or config.dump) and runtime.jit.available()[0]:
        _show_code(make_text(), ("quick", "full")[tier - 1])
    program.state = QUEUED
    priority = 1.0 if program.tier else -interpreted_ns
    name = ("quick", "full")[tier - 1]
    try:
        job = program.job = runtime.jit.submit(program.text, make_text, done, priority, tier=name)
    except BaseException:  # an interrupt, or no memory
        program.state = IDLE
        raise


def worth_waiting(interpreted_ns: float) -> bool:
    """Whether a launch waits for machine code: as the settings say, or where that is cheaper."""
    if config.backend == "llvm" or config.wait == "always":
        return True
    return config.wait == "auto" and interpreted_ns > 2 * _latency_ns


def wait(program: Program) -> None:
    """Waits for a queued Program's compile, which goes ahead of all others."""
    job = program.job
    if job is not None:
        if not job.finished:
            job.hurry()
            job.wait()
        check(program)


def check(program: Program) -> None:
    """Notes the failure of a compile: the Program stays interpreted."""
    job = program.job
    if job is not None and job.error is not None:
        program.state, program.job, program.error = FAILED, None, job.error


def unavailable(program: Program) -> None:
    """Under backend "llvm", a Program without machine code is an error that says why."""
    raise BackendUnavailable(f"backend llvm: {program.error}")


def drain() -> None:
    """Returns once no compile is queued or running. Awaited without the engine lock."""
    runtime.jit.drain()


def counts() -> dict:
    """What the compiler did in this process."""
    return runtime.jit.counters()


# CHARL_DEBUG and CHARL_DUMP


def show(text: object) -> None:
    """Prints to stderr, or writes a numbered file into config.dump."""
    global _dumped
    if config.dump:
        _dumped += 1
        os.makedirs(config.dump, exist_ok=True)
        with open(os.path.join(config.dump, f"{_dumped:05d}.txt"), "w") as file:
            file.write(f"{text}\n")
    else:
        print(text, file=sys.stderr)


def _show_code(source: str, tier: str) -> None:
    """What LLVM gets, and from level 5 what it makes of that."""
    show(source)
    if config.debug >= 5 or config.dump:
        show(runtime.jit.Jit().assembly(source, config.opt_level, tier))


def _watch_passes(changed: dict) -> None:
    wanted = config.debug >= 3 or config.dump
    if wanted or loaded("charl.schedule.plan"):
        schedule.plan.watch = (lambda name, made: show(f"{name}\n{made}")) if wanted else None


config.watch(_watch_passes)


def report(program: Program, nanoseconds: int, tier: int, units: int) -> None:
    """One launch: level 1 of CHARL_DEBUG."""
    name = ("interpreter", "quick", "full")[tier]
    show(f"launch {units} units, {name}, {nanoseconds / 1e3:.1f} us\n{program.text}")
