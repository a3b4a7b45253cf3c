"""Train spectral models: data, fitting, scikit-learn estimators and their commands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eigenserve.training.estimators import SpectralClassifier, SpectralRegressor

__all__ = ["SpectralClassifier", "SpectralRegressor"]


def __getattr__(name: str) -> Any:
    """Import an estimator when it is first used, so that ``eigenserve fit --help`` answers at once."""
    if name in __all__:
        from eigenserve.training import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
