"""Spectral models in PyTorch: `from eigenserve.torch import SpectralNeuron, eigvalsh_tridiagonal, to_model, ...`."""

from eigenserve.extras import naming_extra

with naming_extra("torch"):
    from eigenserve.model.autograd import (
        EigenTensors,
        GeneralEig,
        eig,
        eigh_tridiagonal,
        eigvalsh_tridiagonal,
        smoothed_eigvalsh_tridiagonal,
    )
    from eigenserve.model.torch import (
        AdamSteps,
        Attribution,
        PiecewiseCurves,
        SpectralEnsemble,
        SpectralLayer,
        SpectralNeuron,
        from_model,
        to_model,
    )

__all__ = [
    "AdamSteps",
    "Attribution",
    "EigenTensors",
    "GeneralEig",
    "PiecewiseCurves",
    "SpectralEnsemble",
    "SpectralLayer",
    "SpectralNeuron",
    "eig",
    "eigh_tridiagonal",
    "eigvalsh_tridiagonal",
    "from_model",
    "smoothed_eigvalsh_tridiagonal",
    "to_model",
]
