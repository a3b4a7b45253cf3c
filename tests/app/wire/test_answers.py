"""Answers hold numbers only."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from tests.support.made_models import ROW, make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.problems import ProblemError
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.answers import finite
from eigenserve.model import ModelStore


@pytest.mark.parametrize("score", [np.inf, -np.inf, np.nan])
def test_a_score_beyond_float64_is_refused_by_its_row(score):
    scores = np.array([[1.0], [score], [2.0]])
    with pytest.raises(ProblemError) as caught:
        finite(ServedModel("price", 1, make_model()), scores)
    assert caught.value.status == 422
    assert caught.value.errors[0][0] == ("instances", 1)


def test_a_rate_beyond_float64_is_refused_by_its_row():
    with pytest.raises(ProblemError, match="prediction is not a finite number") as caught:
        finite(ServedModel("price", 1, make_model("poisson")), np.array([[1.0], [2.0], [800.0]]))
    assert caught.value.errors[0][0] == ("instances", 2)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ModelStore(tmp_path_factory.mktemp("store"))
    made.save("count", make_model("poisson", seed=5))
    with running_server(made.root, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


#: The curve of rate goes on linearly, so that exp overflows.
BEYOND = {**ROW, "rate": -1e12}
TABLE = ",".join(BEYOND) + "\n" + ",".join(map(str, BEYOND.values()))
TENSORS = [
    {"name": name, "shape": [1], "datatype": {bool: "BOOL", str: "BYTES"}.get(type(value), "FP64"), "data": [value]}
    for name, value in BEYOND.items()
]


@pytest.mark.parametrize(
    ("path", "media_type", "body", "status"),
    [
        ("/predict", "application/json", json.dumps({"instances": [BEYOND]}), 422),
        ("/explain", "application/json", json.dumps({"instances": [BEYOND]}), 422),
        ("/predict", "text/csv", TABLE, 422),
        ("/predict", "text/csv", TABLE + "\n" * 5000, 422),
        ("/explain", "text/csv", TABLE, 422),
        ("/invocations", "application/json", json.dumps({"instances": [BEYOND]}), 422),
        ("/v1/models/count:predict", "application/json", json.dumps({"instances": [BEYOND]}), 422),
        ("/v2/models/count/infer", "application/json", json.dumps({"inputs": TENSORS}), 400),
    ],
    ids=["json", "explain", "csv", "large csv", "explained csv", "mlflow", "kserve", "open inference"],
)
def test_no_protocol_answers_a_row_beyond_float64(counting: ServerProcess, path, media_type, body, status):
    answer = counting.client.post(path, content=body, headers={"Content-Type": media_type})
    assert answer.status_code == status
    assert "is not a finite number" in answer.json()["detail"]
