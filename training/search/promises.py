"""Prove of the finished model what a fit was asked to guarantee."""

from __future__ import annotations

from typing import Any

from eigenserve.model.certificates.shapes import CertificateError, curved_certificate, monotone_certificate
from eigenserve.model.certificates.strengths import feature_strengths
from eigenserve.model.predictor import Predictor
from eigenserve.training.settings import FitSettings


def proved_of(settings: FitSettings, model: Predictor) -> dict[str, Any]:
    """Prove of the finished model what the settings ask of it.

    Raises:
        CertificateError: a proof failed.
    """
    proved: dict[str, Any] = {}
    if settings.monotone:
        proved["monotone"] = monotone_certificate(model, dict(settings.monotone))
    if settings.convex or settings.concave:
        shapes = dict.fromkeys(settings.convex, "convex") | dict.fromkeys(settings.concave, "concave")
        proved["curved"] = curved_certificate(model, shapes)
    if settings.max_strength:
        strengths = feature_strengths(model)
        for name, most in settings.max_strength:
            if strengths[name] > most:
                raise CertificateError(f"the strength of {name!r} is {strengths[name]:g}, not at most {most:g}")
        proved["max_strength"] = dict(settings.max_strength)
    return proved
