"""Train, serve and explain tabular models whose prediction is an eigenvalue."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from eigenserve.extras import naming_extra

if TYPE_CHECKING:
    from eigenserve.model import Explanation, ModelStore, SpectralModel, load_model
    from eigenserve.training import SpectralClassifier, SpectralRegressor

__all__ = [
    "Explanation",
    "ModelStore",
    "SpectralClassifier",
    "SpectralModel",
    "SpectralRegressor",
    "__version__",
    "load_model",
]

try:
    __version__ = version("eigenserve")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that neither the command line nor a server imports them all."""
    if name in __all__:
        if name in ("SpectralClassifier", "SpectralRegressor"):
            with naming_extra("fit"):
                return getattr(import_module("eigenserve.training"), name)
        return getattr(import_module("eigenserve.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
