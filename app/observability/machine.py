"""Name what decides the last bits of an answer in addition to model, rows and options: the CPU and the libraries."""

from __future__ import annotations

import platform

import numba
import numpy as np
import pyarrow as pa
from numba.core.registry import cpu_target

from eigenserve import __version__


def arithmetic() -> dict[str, str]:
    """Return the releases that compute and write, and the CPU that code is compiled for.

    Compilers fuse and reorder by what a CPU can do, and NumPy chooses its functions by it: answers of two levels of
    x86-64 may differ in their last bits, and parts of one output must not.
    """
    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    return {
        "eigenserve": __version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        # NUMBA_CPU_NAME may ask for less than the CPU has, of Numba's code but not of NumPy's.
        "kernels": f"{triple} {name} {features}",
        "cpu": f"{platform.machine()} {' '.join(_numpy_features())}",
    }


def _numpy_features() -> list[str]:
    """Return the CPU's features that NumPy has functions for."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return sorted({*extensions.get("baseline", []), *extensions.get("found", [])})
