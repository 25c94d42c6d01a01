"""Builds the extension modules: every charl/**/*.pyx with its C sources from csrc/. The rest is in
pyproject.toml.

Environment:
  CHARL_BUILD_ONLY  comma-separated module names: build only these
  CHARL_SANITIZE    address,undefined or thread: instrument the C and Cython code
  CHARL_CFLAGS      further compiler flags, put last
"""

import importlib
import os
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

ROOT = Path(__file__).resolve().parent
OPS_HEADER = Path("csrc/gen/ops.h")
JOBS = min(2, os.cpu_count() or 1)

# C state lives in one module each; other modules reach it through that module's .pxd.
C_SOURCES = {
    "charl.runtime.pool": ["csrc/pool*.c"],
    "charl.runtime.threads": ["csrc/threads.c"],
    "charl.runtime.interp": ["csrc/interp*.c", "csrc/fold.c", "csrc/contract.c", "csrc/loops*.c"],
}
# Integers wrap and floats follow IEEE op by op: docs/architecture.md, "Promises".
CFLAGS = [
    "-std=c11",
    "-O3",
    "-fwrapv",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]
CYTHON_CFLAGS = ["-Wno-unused-function", "-Wno-unused-variable", "-Wno-unreachable-code"]
CSRC_CFLAGS = ["-Wall", "-Wextra"]
SANITIZE = os.environ.get("CHARL_SANITIZE", "")


def sanitize_flags() -> list[str]:
    """Compiler flags for CHARL_SANITIZE. Raises SystemExit on a name that GCC and clang do not
    share.
    """
    names = [name for name in SANITIZE.split(",") if name]
    unknown = set(names) - {"address", "undefined", "thread"}
    if unknown:
        sys.exit(
            f"CHARL_SANITIZE: {', '.join(sorted(unknown))} is not one of address, undefined, thread"
        )
    if not names:
        return []
    flags = [f"-fsanitize={','.join(names)}", "-fno-omit-frame-pointer", "-g", "-O1"]
    return [*flags, "-fno-sanitize-recover=undefined"] if "undefined" in names else flags


def extensions() -> list[Extension]:
    """One Extension a .pyx, or those that CHARL_BUILD_ONLY names."""
    only = set(filter(None, os.environ.get("CHARL_BUILD_ONLY", "").split(",")))
    found = {}
    for path in sorted(Path("charl").rglob("*.pyx")):
        name = ".".join(path.with_suffix("").parts)
        found[name] = Extension(
            name,
            [
                path.as_posix(),
                *(
                    source.as_posix()
                    for pattern in C_SOURCES.get(name, ())
                    for source in sorted(Path().glob(pattern))
                ),
            ],
            include_dirs=["csrc", numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            extra_compile_args=[
                *CFLAGS,
                *sanitize_flags(),
                *os.environ.get("CHARL_CFLAGS", "").split(),
            ],
            extra_link_args=[flag for flag in sanitize_flags() if flag.startswith("-fsanitize")],
            depends=[header.as_posix() for header in sorted(Path("csrc").glob("*.h"))],
        )
    if only - set(found):
        sys.exit(f"CHARL_BUILD_ONLY: no such module: {', '.join(sorted(only - set(found)))}")
    return [extension for name, extension in found.items() if not only or name in only]


def write_ops_header() -> None:
    """csrc/gen/ops.h from the op table. charl/__init__ is not run: it needs what is being built."""
    package = types.ModuleType("charl")
    package.__path__ = [str(ROOT / "charl")]
    sys.modules["charl"] = package
    try:
        text = importlib.import_module("charl.ops.cgen").header()
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "charl"]:
            del sys.modules[name]
    OPS_HEADER.parent.mkdir(exist_ok=True)
    if OPS_HEADER.exists() and OPS_HEADER.read_text() == text:
        return
    written = OPS_HEADER.with_suffix(f".{os.getpid()}")
    written.write_text(text)
    written.replace(OPS_HEADER)


class BuildExt(build_ext):
    """Generates, cythonizes, then compiles JOBS modules at once, csrc/ with warnings on."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or JOBS
        if SANITIZE:  # objects of another build are not to be mixed in
            self.build_temp += "-" + re.sub(r"\W", "-", SANITIZE)
            self.force = True

    def run(self):
        from Cython.Build import cythonize

        if any(extension.name == "charl.runtime.interp" for extension in self.extensions):
            write_ops_header()
        translated = cythonize(self.extensions, language_level=3)
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().run()

    def build_extension(self, ext):
        """Compiles csrc/ apart from Cython's output: its warnings are ours to heed, Cython's are
        not.
        """
        depends = [*ext.depends, str(OPS_HEADER)] if C_SOURCES.get(ext.name) else ext.depends
        built = self.get_ext_fullpath(ext.name)
        if not self.force and not newer_group([*ext.sources, *depends], built, "newer"):
            return
        csrc = [source for source in ext.sources if source.startswith("csrc/")]
        ext.sources = [source for source in ext.sources if source not in csrc]
        flags = ext.extra_compile_args

        def compile_one(source):
            return self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=ext.include_dirs,
                extra_postargs=[*CSRC_CFLAGS, *flags],
            )

        with ThreadPoolExecutor(JOBS) as threads:
            for objects in threads.map(compile_one, csrc):
                ext.extra_objects = [*ext.extra_objects, *objects]
        ext.extra_compile_args = [*CYTHON_CFLAGS, *flags]
        ext.depends = [*depends, *csrc]  # or else a change of these alone would not be linked
        super().build_extension(ext)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
