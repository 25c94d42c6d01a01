"""Builds the extension modules: every charl/**/*.pyx, with its C sources from csrc/."""

import os
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

C_SOURCES = {
    "charl.runtime.pool": ["csrc/pool.c"],
    "charl.runtime.threads": ["csrc/threads.c"],
    "charl.runtime.interp": ["csrc/interp.c", "csrc/loops.c"],
}
only = set(filter(None, os.environ.get("CHARL_BUILD_ONLY", "").split(",")))
modules = []
for path in sorted(Path("charl").rglob("*.pyx")):
    name = ".".join(path.with_suffix("").parts)
    if not only or name in only:
        modules.append(
            Extension(
                name,
                [str(path), *C_SOURCES.get(name, [])],
                include_dirs=["csrc", numpy.get_include()],
                extra_compile_args=["-O3", "-std=c11", "-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
                depends=["csrc/charl.h"],
            )
        )
setup(ext_modules=cythonize(modules, language_level=3))
