"""Spectral models as torch modules: layers, curves, and the way to and from a served model."""

from eigenserve.model.torch.adam_steps import AdamSteps
from eigenserve.model.torch.conversion import from_model, to_model
from eigenserve.model.torch.curves import PiecewiseCurves
from eigenserve.model.torch.ensemble import SpectralEnsemble
from eigenserve.model.torch.layers import Attribution, SpectralLayer, SpectralNeuron

__all__ = [
    "AdamSteps",
    "Attribution",
    "PiecewiseCurves",
    "SpectralEnsemble",
    "SpectralLayer",
    "SpectralNeuron",
    "from_model",
    "to_model",
]
