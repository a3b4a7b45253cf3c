"""Recorded reasons are computed again to the last bit: with words, groups, plausibility, and rules of changes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support.app_client import app_client
from tests.support.made_models import make_model, make_rows

pytest.importorskip("pyarrow", reason="needs pyarrow")

from eigenserve.cli import main
from eigenserve.model import ModelStore
from eigenserve.model.counterfactuals.plausibility import measure_typicality

WORDS = {
    "never": ["member"],
    "text": {"money": "Means: {value}", "city": "City: {value}"},
    "changes": {"directions": {"age": "up"}},
}


def test_reasons_are_replayed_with_all_that_the_model_keeps(tmp_path, capsys):
    store = ModelStore(tmp_path / "store")
    model, rows = make_model(seed=1), make_rows(60, seed=7)
    typical = measure_typicality(model.features, model.features.encode(rows)).document()
    kept = {"typicality": typical, "groups": {"money": ["income", "rate"]}, "reasons": WORDS}
    store.save("price", replace(model, card={**model.card, **kept}))
    cutoff = float(np.median(model.predict(rows)))
    question = {"instances": rows[:9], "cutoff": cutoff, "adverse": "below", "n": 2}
    asked = [
        {"instances": rows[:20], "cutoff": cutoff},
        {"instances": rows[20:40], "cutoff": cutoff},
        {**question, "reference": rows[40:]},
        {**question, "reference": "training average"},
    ]
    found = []
    with app_client(store, records=str(tmp_path / "records")) as client:
        for body in asked:
            answer = client.post("/reasons", json=body)
            assert answer.status_code == 200, answer.text
            found += answer.json()["reasons"]
    assert sum(row["change"] is not None and row["change"]["plausibility"] is not None for row in found) >= 10
    assert main(["records", "replay", str(tmp_path / "records"), "--store", str(store.root), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["reasoned"], result["different"], result["skipped"]) == (58, 0, {})
