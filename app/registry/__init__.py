"""Keep the models that are served now."""

from eigenserve.app.registry.readiness import not_ready, unready
from eigenserve.app.registry.registry import ModelRegistry
from eigenserve.app.registry.served import ServedModel
from eigenserve.app.registry.watch import StoreWatch

__all__ = ["ModelRegistry", "ServedModel", "StoreWatch", "not_ready", "unready"]
