"""The mathematics: tridiagonal spectral models, their eigensolvers, explanations and checkpoints."""

from model.explain import Explanation
from model.features import InvalidRowsError
from model.spectral import SpectralModel
from model.store import CheckpointError, ModelStore
from model.stores import load_model

__all__ = ["CheckpointError", "Explanation", "InvalidRowsError", "ModelStore", "SpectralModel", "load_model"]
