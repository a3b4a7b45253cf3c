"""Compute Shapley values, of features against a row and of terms against a reference."""

from eigenserve.model.explanations.shapley.features import coalition_scores, differing, shapley_values
from eigenserve.model.explanations.shapley.terms import term_shapley_values

__all__ = ["coalition_scores", "differing", "shapley_values", "term_shapley_values"]
