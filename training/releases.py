"""List the releases of this package and of the libraries that a fit's numbers come from."""

from __future__ import annotations

import platform
from importlib.metadata import version


def releases() -> dict[str, str]:
    """Return Python's release, and that of each package by its name."""
    names = ("eigenserve", "numpy", "numba", "scipy", "pandas")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
