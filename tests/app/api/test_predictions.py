"""Predictions, explanations, models and health, over HTTP from a real server."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.support.made_models import ROW, TERMS, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore, load_model
from eigenserve.model.explanations.explain import explain

MODELS = ("price", "choice", "level", "count", "point")


def in_process(store: ModelStore, name: str, rows: list) -> list:
    """What the contract's predictions are, from ``load_model`` alone."""
    model = load_model(store.root / name)
    predicted = model.predict(rows).tolist()
    if not model.classes:
        return predicted
    keys = [json.dumps(c) if isinstance(c, bool) else str(c) for c in model.classes]
    labels = model.predict_proba(rows).argmax(axis=1)
    return [
        {"label": model.classes[i], "probabilities": dict(zip(keys, p, strict=True))}
        for i, p in zip(labels, model.predict_proba(rows).tolist(), strict=True)
    ]


@pytest.mark.parametrize("count", [1, 3, 2000])  # on the event loop, and on a thread
@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_the_model_to_the_last_bit(
    server: ServerProcess, store: ModelStore, name: str, count: int
):
    rows = make_rows(count)
    answer = server.client.post("/predict", json={"instances": rows, "model": name})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model"], body["version"]) == (name, str(store.versions(name)[-1]))
    assert body["predictions"] == in_process(store, name, rows)


def test_a_row_may_be_an_object_or_an_array_with_nulls_and_unseen_categories(server: ServerProcess):
    rows = [
        {"age": 31, "income": 52000.0, "member": True, "city": "Rome", "rate": 1},
        [31.0, 52000, True, "Rome", 1.0],
        {"age": None, "member": False, "city": "Atlantis", "rate": -0.5},
        [None, None, False, "Ys", -0.5],
        {},
    ]
    predictions = server.client.post("/predict", json={"instances": rows}).json()["predictions"]
    assert predictions[0] == predictions[1]
    assert predictions[2] == predictions[3]
    assert all(isinstance(p, float) for p in predictions)


@pytest.mark.parametrize("count", [2, 1500])
@pytest.mark.parametrize("name", MODELS)
def test_contributions_add_up_to_the_score(server: ServerProcess, store: ModelStore, name: str, count: int):
    rows = make_rows(count, seed=1)
    answer = server.client.post("/explain", json={"instances": rows, "model": name})
    assert answer.status_code == 200
    body = answer.json()
    assert body["method"] == "integrated"
    for explained in body["explanations"]:
        assert list(explained["contributions"]) == [term.name for term in TERMS]
        total = explained["baseline"] + sum(explained["contributions"].values())
        assert abs(total - explained["score"]) <= 1e-9 * max(1, abs(explained["score"]))
        # A matrix of size 1 has no other eigenvalue: an infinite distance, which JSON writes as null.
        assert explained["gap"] is None if name == "point" else explained["gap"] > 0
    assert [e["prediction"] for e in body["explanations"]] == in_process(store, name, rows)


def test_sensitivities_are_null_where_the_value_is_missing(server: ServerProcess):
    rows = [{**ROW, "age": None}, ROW]
    missing, present = server.client.post("/explain", json={"instances": rows}).json()["explanations"]
    assert missing["sensitivities"]["age"] is None
    assert isinstance(present["sensitivities"]["age"], float)
    assert set(present["sensitivities"]) == {"age", "income", "rate"}


def test_a_target_class_is_explained_whether_given_as_itself_or_as_text(server: ServerProcess):
    def score(target: object) -> float:
        body = {"instances": [ROW], "model": "level", "target": target}
        return server.client.post("/explain", json=body).json()["explanations"][0]["score"]

    assert score("low") != score("mid")
    assert score(3) == score("3")


def test_an_older_version_answers_when_asked_for(server: ServerProcess, store: ModelStore):
    for version in (1, "1"):
        body = server.client.post("/predict", json={"instances": [ROW], "version": version}).json()
        assert body["version"] == "1"
        assert body["predictions"] == store.load("price", 1).predict([ROW]).tolist()


def test_a_row_is_answered_the_same_alone_and_in_any_batch(server: ServerProcess):
    rows = make_rows(300, seed=2)
    together = server.client.post("/predict", json={"instances": rows}).json()["predictions"]
    alone = [server.client.post("/predict", json={"instances": [row]}).json()["predictions"][0] for row in rows]
    assert together == alone


def test_models_are_listed_and_described(server: ServerProcess, store: ModelStore):
    listed = server.client.get("/models").json()["models"]
    assert [m["name"] for m in listed] == sorted(MODELS)
    assert [m["name"] for m in listed if m["default"]] == ["price"]
    card = server.client.get("/models/level").json()
    assert card["classes"] == ["low", "mid", 3]
    assert [f["name"] for f in card["features"]] == ["age", "income", "member", "city", "rate"]
    assert card["features"][3]["categories"] == ["Paris", "Rome", "3"]
    assert (card["dim"], card["members"], card["link"]) == (5, 3, "softmax")
    assert card["metrics"] == {"validation": {"rmse": 1.5}}
    strengths = card["strengths"]
    assert set(strengths) == {feature["name"] for feature in card["features"]}
    assert all(strength > 0.0 for strength in strengths.values())
    assert server.client.get("/models/price/versions/1").json()["version"] == "1"
    assert server.client.get("/models/price").json()["version"] == "2"


def test_health_answers(server: ServerProcess):
    assert server.client.get("/livez").json() == {"status": "alive"}
    assert server.client.get("/readyz").json() == {"status": "ready", "models": sorted(MODELS)}


def test_a_request_id_is_taken_over_or_made(server: ServerProcess):
    for path in ("/livez", "/nowhere"):
        mine = server.client.get(path, headers={"X-Request-ID": "abc-123"})
        assert mine.headers["X-Request-ID"] == "abc-123"
        made = [server.client.get(path).headers["X-Request-ID"] for _ in range(2)]
        assert made[0] != made[1]
    assert server.client.get("/nowhere", headers={"X-Request-ID": "abc"}).json()["request_id"] == "abc"
    strange = server.client.get("/livez", headers={"X-Request-ID": "a b" * 100})
    assert len(strange.headers["X-Request-ID"]) == 32


def test_metrics_count_what_was_answered(server: ServerProcess):
    def count() -> float:
        prefix = 'eigenserve_rows_total{kind="predict",model="count"}'
        lines = server.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(prefix))

    before = count()
    server.client.post("/predict", json={"instances": make_rows(7), "model": "count"})
    assert count() == before + 7


def test_answers_hold_numbers_that_read_back_exactly(server: ServerProcess, store: ModelStore):
    rows = make_rows(100, seed=9)
    text = server.client.post("/predict", json={"instances": rows}).content
    read = np.array(json.loads(text)["predictions"])
    assert read.tobytes() == load_model(store.root / "price").predict(rows).tobytes()


@pytest.mark.parametrize("method", ["path", "shapley"])
def test_a_score_is_explained_by_feature_against_a_baseline_row(server: ServerProcess, store: ModelStore, method: str):
    rows, model = make_rows(3), load_model(store.root / "price")
    asked = {"instances": rows, "model": "price", "method": method, "baseline": ROW}
    body = server.client.post("/explain", json=asked).json()
    expected = model.explain(rows, method=method, baseline=ROW)
    assert body["method"] == method
    for explained, contributions in zip(body["explanations"], expected.contributions, strict=True):
        assert list(explained["contributions"]) == list(model.features.names)
        assert list(explained["contributions"].values()) == contributions.tolist()
        assert explained["baseline"] == expected.baseline[0]
        assert ("standard_error" in explained) == (method == "shapley")


def test_a_baseline_may_be_a_sample_of_rows(server: ServerProcess, store: ModelStore):
    rows, sample = make_rows(2), make_rows(5, seed=4)
    asked = {"instances": rows, "model": "price", "method": "shapley", "baseline": sample}
    body = server.client.post("/explain", json=asked).json()
    expected = load_model(store.root / "price").explain(rows, method="shapley", baseline=sample)
    for explained, contributions in zip(body["explanations"], expected.contributions, strict=True):
        assert list(explained["contributions"].values()) == contributions.tolist()
        assert explained["baseline"] == expected.baseline[0]
    for bad, says in (([], "at least one row"), (sample * 21, "at most 100 rows")):
        answer = server.client.post("/explain", json={**asked, "baseline": bad})
        assert answer.status_code == 422
        assert says in answer.json()["detail"] + answer.text
    answer = server.client.post("/explain", json={**asked, "include": ["interactions"]})
    assert answer.status_code == 422


def test_a_wrong_baseline_is_named(server: ServerProcess):
    asked = {"instances": [ROW], "method": "path", "baseline": {"age": "old"}}
    answer = server.client.post("/explain", json=asked)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["baseline", "age"]
    answer = server.client.post("/explain", json={"instances": [ROW], "baseline": ROW})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["baseline"]


@pytest.mark.parametrize("name", ["level", "choice", "price", "count"])
def test_an_explanation_carries_the_scores_of_a_prediction(server: ServerProcess, store: ModelStore, name: str):
    rows = make_rows(40)
    explained = server.client.post("/explain", json={"instances": rows, "model": name}).json()["explanations"]
    predicted = server.client.post("/predict", json={"instances": rows, "model": name}).json()["predictions"]
    assert [row["prediction"] for row in explained] == predicted
    model = store.load(name)
    columns, scores = model.features.encode(rows), model.scores(model.features.encode(rows))
    assert np.array_equal(explain(model, columns).scores, scores)
