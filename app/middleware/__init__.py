"""Wrap every request: observation, keys, direct routes, load shedding."""
