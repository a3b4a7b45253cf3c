"""Decide when and where a request is computed."""
