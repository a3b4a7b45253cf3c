"""MLflow's scoring protocol."""

from __future__ import annotations

import pytest
from tests.support.made_models import FEATURES, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore, load_model

NAMES = [feature.name for feature in FEATURES]
ROWS = [{name: row.get(name) for name in NAMES} for row in make_rows(4)]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES, "data": [list(row.values()) for row in ROWS]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": [list(row.values()) for row in ROWS], "params": {}},
        {"inputs": {name: [row[name] for row in ROWS] for name in NAMES}},
    ],
    ids=["split", "records", "instances", "arrays", "inputs"],
)
def test_every_layout_is_answered(server: ServerProcess, store: ModelStore, body: dict):
    answer = server.client.post("/invocations", json=body)
    assert answer.status_code == 200
    assert answer.json()["predictions"] == (load_model(store.root / "price").predict(ROWS).tolist())


def test_probes_answer(server: ServerProcess):
    for path in ("/ping", "/health", "/version"):
        assert server.client.get(path).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"instances": [{}], "inputs": [{}]},
        {"dataframe_split": []},
        {"dataframe_split": {"columns": [1], "data": [[1]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[1]]}},
        {"dataframe_records": []},
        {"inputs": {}},
        {"inputs": {"age": 1}},
        {"inputs": {"age": [1], "rate": [1, 2]}},
    ],
)
def test_a_bad_body_is_refused(server: ServerProcess, body):
    answer = server.client.post("/invocations", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("NaN", 200),
        ("null", 200),
        ("Infinity", 422),
        ("1e999", 422),
        ("[NaN", 422),
        ("[" * 100_000 + "NaN", 422),
    ],
)
def test_nan_is_a_missing_value_as_its_client_writes_it(server: ServerProcess, cell: str, status: int):
    body = f'{{"dataframe_records": [{{"age": {cell}}}]}}'
    headers = {"Content-Type": "application/json"}
    assert server.client.post("/invocations", content=body, headers=headers).status_code == status
