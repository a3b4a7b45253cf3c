"""POST /reasons, over HTTP from a real server."""

from __future__ import annotations

import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore


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
