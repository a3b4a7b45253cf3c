"""Ask a running service: predictions, explanations and reasons of lists, DataFrames and arrays."""

from eigenserve.extras import naming_extra

with naming_extra("client"):
    from eigenserve.client.clients import AsyncClient, Client
    from eigenserve.client.errors import ServiceError

__all__ = ["AsyncClient", "Client", "ServiceError"]
