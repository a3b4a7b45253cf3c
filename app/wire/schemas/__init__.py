"""Describe request and answer bodies by schemas."""
