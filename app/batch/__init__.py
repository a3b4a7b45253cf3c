"""Batch scoring: predictions and explanations of whole files, as `eigenserve score` gives them."""
