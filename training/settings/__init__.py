"""Hold and check the options of a fit."""

from eigenserve.training.settings.fit_settings import FitSettings
from eigenserve.training.settings.reading import make_settings, read_settings

__all__ = ["FitSettings", "make_settings", "read_settings"]
