"""Answer every path of the service, one file per contract."""
