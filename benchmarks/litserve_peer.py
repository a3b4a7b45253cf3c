"""What the service is measured against: the same model behind LitServe, in a Python that has it."""

from __future__ import annotations

import os
import sys
from typing import Any

import litserve  # type: ignore[import-not-found]

from eigenserve.model import load_model


class Api(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's defaults: one worker process, no batching."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model = load_model(os.environ["BENCHMARK_MODEL"])
        self.model.predict([{}])

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would become its schema
        """The rows of a request."""
        return request["instances"]

    def predict(self, x: Any) -> Any:
        """Predict rows."""
        return self.model.predict(x).tolist()

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        return {"predictions": output}


if __name__ == "__main__":
    litserve.LitServer(Api(), accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
