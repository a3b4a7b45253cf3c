"""Compiled training code."""
