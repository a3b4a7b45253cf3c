"""Describe the served models for /models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.model.monitoring import CARD_KEY
from eigenserve.model.rows.features import Feature, FeatureSpace

#: Members of a checkpoint's card with a separate place in an answer, or for inside use; with the sketch,
#: /models/NAME/drift compares.
_PLACED = ("name", "version", "metrics", "strengths", "typicality", "training_rows", CARD_KEY)


def model_summary(served: ServedModel, registry: ModelRegistry) -> dict[str, Any]:
    """Describe a model for the list of all."""
    versions = registry.served.get(served.name, {})
    return {
        "name": served.name,
        "version": str(served.version),
        "versions": [str(version) for version in sorted(versions)],
        "task": served.model.task,
        "target": served.model.target,
        "default": served.name == (registry.default or (len(registry.served) == 1 and served.name)),
    }


def model_card(served: ServedModel, registry: ModelRegistry, watched: bool) -> dict[str, Any]:
    """Describe one version of a model in full; ``watched`` is whether the service compares rows with training."""
    model, ensemble = served.model, served.model.ensemble
    return {
        **model_summary(served, registry),
        "link": model.link,
        "classes": list(model.classes),
        "features": [_feature(feature, model.features) for feature in model.features.features if not feature.cycle],
        "terms": [term.name for term in ensemble.pencil.terms],
        "dim": ensemble.pencil.dim,
        "members": len(ensemble.member_weights),
        "eig_idx": ensemble.eig_idx,
        "metrics": model.card.get("metrics"),
        "strengths": model.strengths(),
        "drift": watched and served.counting is not None,
        "card": {key: value for key, value in model.card.items() if key not in _PLACED},
    }


def _feature(feature: Feature, space: FeatureSpace) -> dict[str, Any]:
    numeric = feature.kind in ("numeric", "datetime")
    return {
        "name": feature.name,
        "kind": feature.kind,
        "typical": feature.typical,
        "low": feature.low if numeric else None,
        "high": feature.high if numeric else None,
        "categories": list(feature.categories) if feature.kind == "categorical" else None,
        "missing": feature.missing,
        "reading": asdict(feature.reading),
        "cycles": [other.name for other in space.features if other.source == feature.name],
    }
