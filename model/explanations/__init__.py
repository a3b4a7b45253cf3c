"""Explain a score by the contributions of its terms."""
