"""Batch scoring: predictions and explanations of whole files, as `python -m app score` gives them."""
