"""Name the extra that brings a missing module, in one line: on the command line, and where a package is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: The extra that brings a module; the solver and predictions, the base install, need none of them.
EXTRAS = {
    "serve": {
        "fastapi",
        "fastapi_offline",
        "orjson",
        "prometheus_client",
        "pydantic",
        "pydantic_settings",
        "starlette",
        "uvicorn",
    },
    "fit": {"pandas", "plotly", "rich", "scipy", "sklearn", "threadpoolctl"},
    "score": {"pyarrow"},
    "torch": {"torch"},
    "onnx": {"onnx", "onnxruntime"},
    "store": {"fsspec", "s3fs"},
    "records": {"cryptography"},
    "jwt": {"jwt"},
    "plot": {"matplotlib"},
    "ray": {"ray"},
    "client": {"httpx"},
    "mlflow": {"mlflow"},
    "jax": {"jax"},
    "excel": {"openpyxl"},
    "grpc": {"grpc", "grpc_reflection"},
    "otel": {"opentelemetry"},
}


def remedy_of(error: ModuleNotFoundError, extra: str | None = None) -> str | None:
    """Return what is missing and how to install it; None for a module that no extra brings.

    extra: the one to name, where several bring the module.
    """
    module = (error.name or "").split(".")[0]
    bringing = [name for name, modules in EXTRAS.items() if module in modules]
    if not bringing:
        return None
    return f"module {module!r} is not installed; install it with: pip install 'eigenserve[{extra or bringing[0]}]'"


@contextmanager
def naming_extra(extra: str) -> Iterator[None]:
    """Let an import that fails for want of this extra say so in one line.

    Raises:
        ModuleNotFoundError: with the remedy.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        remedy = remedy_of(error, extra)
        if remedy is None:
            raise
        raise ModuleNotFoundError(remedy, name=error.name) from None
