"""Training: data, fitting, scikit-learn estimators, the command line."""

from training.estimators import SpectralClassifier, SpectralRegressor

__all__ = ["SpectralClassifier", "SpectralRegressor"]
