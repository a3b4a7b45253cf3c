"""Record metrics, traces and logs of the service."""
