"""Train, serve and explain tabular models whose prediction is an eigenvalue."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

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
        package = "training" if name in ("SpectralClassifier", "SpectralRegressor") else "model"
        return getattr(import_module(f"eigenserve.{package}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
