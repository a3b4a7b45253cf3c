"""Compile the inner loops of training."""
