"""The paths that the service answers on, one file per contract."""
