"""Fit and predict as scikit-learn estimators."""

from eigenserve.training.estimators.spectral import SpectralClassifier, SpectralRegressor

__all__ = ["SpectralClassifier", "SpectralRegressor"]
