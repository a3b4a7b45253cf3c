"""The version of this Eigenserve."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("eigenserve")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0"


VERSION = _installed()
