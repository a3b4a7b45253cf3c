"""Prove of the finished model what a fit was asked to guarantee."""

from __future__ import annotations

from typing import Any

from eigenserve.model.certificates.shapes import CertificateError, curved_certificate, monotone_certificate
from eigenserve.model.certificates.strengths import feature_strengths
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.settings import FitSettings


def proved_of(settings: FitSettings, space: FeatureSpace, ensemble: SpectralEnsemble) -> dict[str, Any]:
    """Prove of the finished model what the settings ask of it.

    Raises:
        CertificateError: a proof failed.
    """
    proved: dict[str, Any] = {}
    if settings.monotone:
        proved["monotone"] = monotone_certificate(space, ensemble, dict(settings.monotone))
    if settings.convex or settings.concave:
        shapes = dict.fromkeys(settings.convex, "convex") | dict.fromkeys(settings.concave, "concave")
        proved["curved"] = curved_certificate(space, ensemble, shapes)
    if settings.max_strength:
        strengths = feature_strengths(space, ensemble)
        for name, most in settings.max_strength:
            if strengths[name] > most:
                raise CertificateError(f"the strength of {name!r} is {strengths[name]:g}, not at most {most:g}")
        proved["max_strength"] = dict(settings.max_strength)
    return proved
