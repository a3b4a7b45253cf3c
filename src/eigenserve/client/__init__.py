"""Ask a running service: predictions, explanations and reasons of lists, DataFrames and arrays."""

from eigenserve.client.clients import AsyncClient, Client
from eigenserve.client.errors import ServiceError

__all__ = ["AsyncClient", "Client", "ServiceError"]
