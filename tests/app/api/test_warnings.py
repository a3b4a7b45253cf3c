"""Warnings and strictness in every format: rows unlike those of training are answered with a warning, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.app_client import app_client
from tests.support.made_models import ROW, make_model, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore, load_model

ODD = {**ROW, "city": "Bavaria", "income": 1e9, "rate": None}
LISTS = [[("range", "income"), ("unseen", "city"), ("missing", "rate")], []]


def named(warnings: list[list[dict]]) -> list[list[tuple[str, str]]]:
    return [[(w["kind"], w["feature"]) for w in row] for row in warnings]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/reasons", "/counterfactuals"])
def test_every_answer_carries_them_by_row(server: ServerProcess, path: str):
    more = {"/reasons": {"cutoff": 1.0}, "/counterfactuals": {"wanted": {"above": -1e9}}}.get(path, {})
    body = server.client.post(path, json={"instances": [ODD, ROW], **more}).json()
    if path in ("/predict", "/counterfactuals"):
        assert named(body["warnings"]) == LISTS
    else:
        entries = body[path[1:] if path == "/reasons" else "explanations"]
        assert named([entry["warnings"] for entry in entries]) == LISTS


def test_they_are_the_same_in_a_large_body(server: ServerProcess, store: ModelStore):
    rows = make_rows(4000)
    body = server.client.post("/predict", json={"instances": rows}).json()
    assert body["warnings"] == load_model(store.root / "price").warnings(rows).lists()


def test_other_protocols_have_them_where_there_are_any(server: ServerProcess):
    inputs = [
        {"name": name, "shape": [2], "datatype": kind, "data": [ODD[name], ROW[name]]}
        for name, kind in {"age": "FP64", "income": "FP64", "member": "BOOL", "city": "BYTES", "rate": "FP64"}.items()
    ]
    infer = server.client.post("/v2/models/price/infer", json={"inputs": inputs}).json()
    assert named(json.loads(infer["parameters"]["warnings"])) == LISTS
    outputs = [{"name": "warnings"}]
    (output,) = server.client.post("/v2/models/price/infer", json={"inputs": inputs, "outputs": outputs}).json()[
        "outputs"
    ]
    assert output["data"] == [f"range income by {1e9 - 1e6!r}; unseen city; missing rate", ""]
    for path in ("/v1/models/price:predict", "/invocations"):
        assert named(server.client.post(path, json={"instances": [ODD, ROW]}).json()["warnings"]) == LISTS
        assert "warnings" not in server.client.post(path, json={"instances": [ROW]}).json()


def test_what_a_query_repeats_is_joined_or_refused(server: ServerProcess):
    names = list(ROW)
    body = ",".join([*names, "branch"]) + "\n" + ",".join("" if n == "rate" else str(ROW[n]) for n in names) + ",7\n"
    headers = {"content-type": "text/csv"}
    for query in ("strict=missing&strict=range", "strict=range&strict=missing", "strict=missing"):
        assert server.client.post(f"/predict?{query}", content=body, headers=headers).status_code == 422
    kept = server.client.post("/predict?keep=branch&keep=age", content=body, headers=headers)
    assert kept.text.startswith("branch,age,prediction,warnings\n")
    for path in ("/predict", "/explain"):
        twice = server.client.post(f"{path}?version=1&version=1", content=body, headers=headers)
        assert (twice.status_code, twice.json()["errors"][0]["loc"]) == (422, ["version"])
    for path in ("/models/price/schema", "/models/price/drift"):
        assert server.client.get(f"{path}?version=1&version=2").status_code == 422
        # A parameter that nobody reads, such as those of a cache, may be repeated.
        assert server.client.get(f"{path}?x=1&x=2").status_code in (200, 404)
    assert server.client.get("/models/price/versions/1/model.onnx?explain=true&explain=false").status_code == 422


def test_strict_refuses_and_names_rows_and_features(server: ServerProcess):
    answer = server.client.post("/predict", json={"instances": [ROW, ODD], "strict": True})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [
        ["instances", 1, "income"],
        ["instances", 1, "city"],
        ["instances", 1, "rate"],
    ]
    assert server.client.post("/predict", json={"instances": [ROW], "strict": True}).status_code == 200
    chosen = server.client.post("/explain", json={"instances": [ODD], "strict": ["unseen"]}).json()
    assert [error["loc"][-1] for error in chosen["errors"]] == ["city"]
    assert server.client.post("/predict", json={"instances": [ODD], "strict": ["certified"]}).status_code == 200


@pytest.mark.parametrize("strict", ["yes", 1, ["unknown"], {"missing": True}])
def test_a_strictness_that_means_nothing_is_refused(server: ServerProcess, strict: object):
    answer = server.client.post("/predict", json={"instances": [ROW], "strict": strict})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][0] == "strict"


def test_every_protocol_can_be_strict(server: ServerProcess):
    header = {"Content-Type": "text/csv"}
    line = b"age,income,member,city,rate\n31,5000,true,Bavaria,0\n"
    assert server.client.post("/predict?strict=unseen", content=line, headers=header).status_code == 422
    assert server.client.post("/predict?strict=range", content=line, headers=header).status_code == 200
    v1 = server.client.post("/v1/models/price:predict", json={"instances": [ODD], "strict": True})
    mlflow = server.client.post("/invocations", json={"instances": [ODD], "params": {"strict": True}})
    inputs = [{"name": "x", "shape": [1, 5], "datatype": "BYTES", "data": [31, 5000, True, "Bavaria", 0]}]
    v2 = server.client.post("/v2/models/price/infer", json={"inputs": inputs, "parameters": {"strict": "unseen"}})
    assert (v1.status_code, mlflow.status_code, v2.status_code) == (422, 422, 400)


def test_a_narrow_gap_makes_an_explanation_unstable(tmp_path: Path, store: ModelStore, monkeypatch):
    monkeypatch.setattr("eigenserve.model.explanations.near_crossings.NARROW", 1e9)
    with app_client(store) as client:
        (entry,) = client.post("/explain", json={"instances": [ROW]}).json()["explanations"]
        assert [warning["kind"] for warning in entry["warnings"]] == ["unstable"]
        assert client.post("/explain", json={"instances": [ROW], "strict": True}).status_code == 422
        assert client.post("/predict", json={"instances": [ROW], "strict": True}).status_code == 200


def test_a_server_and_a_model_can_be_strict_and_a_request_cannot_undo_it(tmp_path: Path):
    made, model = ModelStore(tmp_path), make_model()
    made.save("price", model)
    made.save("careful", replace(model, card={**model.card, "strict": ["missing"]}))
    with app_client(made, strict="unseen") as client:
        for name, row, status in (
            ("price", {**ROW, "city": "Bavaria"}, 422),
            ("price", {**ROW, "rate": None}, 200),
            ("careful", {**ROW, "rate": None}, 422),
            ("careful", {**ROW, "rate": 9.0}, 200),
        ):
            body = {"instances": [row], "model": name, "strict": False}
            assert client.post("/predict", json=body).status_code == status, (name, row)
        metrics = client.get("/metrics").text
    assert 'eigenserve_warnings_total{kind="range",model="careful"} 1.0' in metrics
