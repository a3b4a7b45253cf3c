"""POST /reasons, over HTTP from a real server."""

from __future__ import annotations

import pytest
from tests.support.app_client import app_client
from tests.support.few_features import few_features_model
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore
from eigenserve.model.rows.features import Feature


def ask(server: ServerProcess, **body):
    return server.client.post("/reasons", json={"instances": [ROW], **body})


@pytest.mark.parametrize(("name", "cutoff"), [("price", 0.0), ("choice", 0.3), ("count", 0.5)])
@pytest.mark.parametrize("adverse", ["above", "below"])
def test_reasons_are_those_of_the_model_in_process(server: ServerProcess, store: ModelStore, name, cutoff, adverse):
    rows = make_rows(6, seed=3)
    answer = ask(server, instances=rows, model=name, cutoff=cutoff, adverse=adverse, n=3)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["reference"]) == (name, "training average")
    expected = store.load(name).reasons(rows, cutoff, adverse=adverse, n=3)
    for found, own in zip(body["reasons"], expected, strict=True):
        assert found["adverse"] == own.adverse
        assert found["distance"] == own.distance
        assert [reason["name"] for reason in found["reasons"]] == [reason.name for reason in own.reasons]
        assert [reason["contribution"] for reason in found["reasons"]] == [r.contribution for r in own.reasons]
        assert (found["change"] is None) == (own.change is None)
        assert len(found["reasons"]) <= 3
        sign = 1.0 if adverse == "above" else -1.0
        assert all(sign * reason["contribution"] > 0.0 for reason in found["reasons"])


@pytest.mark.parametrize(
    ("body", "loc", "words"),
    [
        ({}, ["cutoff"], "must be given"),
        ({"cutoff": 1.5, "model": "choice"}, ["cutoff"], "must be above 0 and below 1"),
        ({"cutoff": 0.5, "model": "level"}, ["model"], "must have one output"),
        ({"cutoff": 0.5, "n": 0}, ["n"], ""),
        ({"cutoff": 0.5, "adverse": "left"}, ["adverse"], ""),
        ({"cutoff": 0.5, "reference": "nobody"}, ["reference"], "must be one of"),
    ],
)
def test_what_cannot_be_answered_is_refused(server: ServerProcess, body: dict, loc: list, words: str):
    answer = ask(server, **body)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["loc"] == loc
    assert words in error["msg"]


def test_values_are_those_of_a_row_and_a_row_at_the_cutoff_is_adverse(tmp_path):
    features = (
        Feature("c", "categorical", "a", categories=("a", "b")),
        Feature("when", "datetime", 19000.0, center=19050.0, scale=50.0, low=19000.0, high=19100.0),
    )
    store = ModelStore(tmp_path)
    store.save("price", few_features_model(features))
    row = {"c": "zzz", "when": "2022-03-01"}
    (at,) = store.load("price").predict([row])
    with app_client(store) as client:
        entries = [
            client.post("/reasons", json={"instances": [row], "cutoff": float(at), "adverse": side}).json()["reasons"][
                0
            ]
            for side in ("above", "below")
        ]
    assert all(entry["adverse"] and entry["distance"] == 0.0 for entry in entries)
    reasons = [reason for entry in entries for reason in entry["reasons"]]
    assert {reason["name"]: reason["value"] for reason in reasons} == {
        "c": "(unseen)",
        "when": "2022-03-01T00:00:00+00:00",
    }
    assert all(reason["share"] is None for reason in reasons)


def test_words_that_cannot_be_used_are_a_fault_of_the_model(tmp_path):
    store = ModelStore(tmp_path)
    words = {"reasons": {"text": {"c": {"low": "a", "high": "b"}}}}
    store.save("price", few_features_model([Feature("c", "categorical", "a", categories=("a", "b"))], words))
    with app_client(store) as client:
        answer = client.post("/reasons", json={"instances": [{"c": "a"}], "cutoff": 0.0})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["model"]
    assert "keeps a reasons.toml that cannot be used: the text of 'c' must not have" in answer.json()["detail"]
