"""Implement tridiagonal spectral models, their eigensolvers, explanations and checkpoints."""

from eigenserve.model.checkpoints.local_store import CheckpointError, ModelStore
from eigenserve.model.checkpoints.locations import load_model
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.spectral import SpectralModel

__all__ = ["CheckpointError", "Explanation", "InvalidRowsError", "ModelStore", "SpectralModel", "load_model"]
