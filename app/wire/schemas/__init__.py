"""The schemas of request and answer bodies."""
