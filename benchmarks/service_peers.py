"""What the service is measured against: the same model behind bare FastAPI."""

from __future__ import annotations

import os
from typing import Any

from eigenserve.model import load_model


def bare() -> Any:
    """FastAPI as one writes it in five minutes: inline, no validation of rows, no logs, no metrics."""
    from fastapi import FastAPI

    model = load_model(os.environ["BENCHMARK_MODEL"])
    model.predict([{}])
    app = FastAPI()

    @app.post("/predict")
    async def predict(body: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": model.predict(body["instances"]).tolist()}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    return app
