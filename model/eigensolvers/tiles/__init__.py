"""Solve one tile of matrices, one matrix per vector lane."""
