"""Training: data, fitting, scikit-learn estimators, the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.estimators import SpectralClassifier, SpectralRegressor

__all__ = ["SpectralClassifier", "SpectralRegressor"]


def __getattr__(name: str) -> Any:
    """The estimators, imported when first asked for, so that ``python -m training --help`` answers at once."""
    if name in __all__:
        from training import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
