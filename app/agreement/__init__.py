"""Agree on the versions that all workers of a server answer with."""
