"""Give the reasons of adverse decisions, in words that can be sent to a person."""

from eigenserve.model.reasons.find import Reason, ReasonRules, RowReasons, Side, find_reasons
from eigenserve.model.reasons.wording import Wording, read_wording

__all__ = ["Reason", "ReasonRules", "RowReasons", "Side", "Wording", "find_reasons", "read_wording"]
