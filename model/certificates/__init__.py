"""Prove bounds on scores and explanations."""
