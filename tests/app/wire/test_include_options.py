"""What an explanation may include, over HTTP from a real server."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess

from eigenserve.model import ModelStore, load_model

MODELS = ("price", "choice", "level", "count", "point")
NAMES = tuple(feature.name for feature in FEATURES)


def explain(server: ServerProcess, **body) -> dict:
    answer = server.client.post("/explain", json={"instances": [ROW], **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["eigenvector", "shapley"])
def test_everything_can_be_included_with_every_model(server: ServerProcess, store: ModelStore, name: str, method: str):
    include = ["certificate", "stability", "eigenvector", "curves", "interactions"]
    rows = make_rows(3, seed=3)
    body = explain(server, instances=rows, model=name, method=method, include=include)
    alone = explain(server, instances=rows, model=name, method=method)
    for with_all, without in zip(body["explanations"], alone["explanations"], strict=True):
        assert {key: with_all[key] for key in without} == without
        assert set(with_all) == {*without, *include}
    model = load_model(store.root / name)
    for row, found in zip(rows, body["explanations"], strict=True):
        target = found["prediction"]["label"] if name == "level" else None
        curves = model.response_curves(row, target=target)
        assert list(found["curves"]) == list(NAMES)
        for feature, curve in found["curves"].items():
            assert curve["scores"] == curves[feature].scores.tolist()
            assert curve["predictions"] == curves[feature].predictions.tolist()
            assert len(curve["values"]) == len(curve["scores"])
        offset = found["score"] - sum(m["weight"] * m["eigenvalue"] for m in found["eigenvector"])
        assert np.abs(model.ensemble.offset - offset).min() <= 1e-12
        stable, expected = found["stability"], model.stability([row], target=target)
        assert stable["turn"] == expected.turn[0]
        assert stable["trusted"] == expected.trusted[0] == (stable["reason"] is None)
        assert (stable["gap"] is None) == (name == "point")
        acting, expected = found["interactions"], model.interactions(row, target)
        assert acting["shapley"]["age & rate"] == expected.shapley[0, 4]
        second = expected.second_derivatives[0, 0]
        assert acting["second_derivatives"]["age & age"] == (None if np.isnan(second) else second)
        assert set(acting["second_derivatives"]) == {
            *("age & age", "age & income", "age & rate"),
            *("income & income", "income & rate", "rate & rate"),
        }
        for member in found["eigenvector"]:
            assert abs(np.linalg.norm(member["eigenvector"]) - 1.0) <= 1e-12


@pytest.mark.parametrize(
    "asked",
    [
        {"groups": {"money": ["income", "rate"]}},
        {"reference": [{**ROW, "age": 70, "city": "Paris"}]},
        {"method": "eigenvector", "groups": {"money": ["income", "rate"]}},
        {"method": "shapley", "baseline": {**ROW, "age": 70, "rate": 2.5}},
        {"method": "shapley_terms", "reference": [{**ROW, "age": 70}]},
        {"method": "path", "baseline": [ROW, {**ROW, "age": 70}], "groups": {"money": ["income", "rate"]}},
    ],
)
def test_the_stability_is_that_of_the_contributions_in_the_same_answer(server: ServerProcess, store: ModelStore, asked):
    row = make_rows(2, seed=5)[1]
    body = explain(server, instances=[row], model="price", include=["stability"], **asked)
    (entry,) = body["explanations"]
    shown, stable = entry["contributions"], entry["stability"]
    assert stable["leading"] == sorted(shown, key=lambda term: -abs(shown[term]))[:3]
    expected = load_model(store.root / "price").reasons_stable([row], **asked)
    assert (stable["order_holds"], stable["moves"]) == (expected.holds[0], expected.moves[0])
    proved = asked.get("method", "integrated") in ("integrated", "eigenvector")
    assert stable["order_proved"] == (0.1 * expected.proved[0] if proved else None)


def test_a_certificate_holds_for_rows_within_its_radii(server: ServerProcess):
    rng = np.random.default_rng(1)
    for name in ("price", "choice", "level"):
        for body in ({}, {"radii": {"age": 5, "city": 1}}):
            found = explain(server, model=name, include=["certificate"], **body)["explanations"][0]
            certificate = found["certificate"]
            radii = certificate["radii"]
            assert certificate["low"] <= found["score"] <= certificate["high"]
            assert set(radii) == ({"age", "city"} if body else {"age", "income", "rate"})
            assert (certificate["decision_radius"] is None) == (name == "price")
            rows = []
            for _ in range(200):
                moved = {f: ROW[f] + rng.uniform(-r, r) for f, r in radii.items() if f != "city"}
                city = {"city": str(rng.choice(["Paris", "Rome", "3", "Ys"]))} if body else {}
                rows.append({**ROW, **moved, **city})
            label = {"target": found["prediction"]["label"]} if name == "level" else {}
            scores = [e["score"] for e in explain(server, instances=rows, model=name, **label)["explanations"]]
            assert certificate["low"] <= min(scores)
            assert max(scores) <= certificate["high"]
    assert (
        abs(explain(server, include=["certificate"])["explanations"][0]["certificate"]["radii"]["age"] - 1.25) < 1e-12
    )


def test_curves_can_be_asked_for_by_name_and_in_pairs(server: ServerProcess):
    asked = ["rate", ["age", "city"]]
    (found,) = explain(server, include=["curves"], curves=asked)["explanations"]
    assert list(found["curves"]) == ["rate", "age & city"]
    surface = found["curves"]["age & city"]
    assert surface["values"][1] == ["Paris", "Rome", "3"]
    assert np.shape(surface["scores"]) == (len(surface["values"][0]), 3)


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ({"include": ["x"]}, ["include", 0], "'certificate', "),
        ({"include": ["curves", 3]}, ["include", 1], "got 3"),
        ({"include": "curves"}, ["include"], "list"),
        ({"include": ["curves"], "radii": {"age": 1}}, ["radii"], "certificate"),
        ({"curves": ["age"]}, ["curves"], "left out"),
        ({"include": ["certificate"], "radii": [1]}, ["radii"], "an array"),
        ({"include": ["certificate"], "radii": {"size": 1}}, ["radii", "size"], "age, income"),
        ({"include": ["certificate"], "radii": {"age": -1}}, ["radii", "age"], "greater than or equal to 0"),
        ({"include": ["certificate"], "radii": {"age": True}}, ["radii", "age"], "number; got true"),
        ({"include": ["curves"], "curves": "age"}, ["curves"], "list"),
        ({"include": ["curves"], "curves": ["size"]}, ["curves", 0], "age, income"),
        ({"include": ["curves"], "curves": [["age"]]}, ["curves", 0], "two different"),
        ({"include": ["curves"], "curves": [["age", 2]]}, ["curves", 0, 1], "got 2"),
    ],
)
def test_a_bad_include_is_refused_with_where_and_what(server: ServerProcess, body, loc, says):
    answer = server.client.post("/explain", json={"instances": [ROW], **body})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc
    assert says in answer.json()["errors"][0]["msg"]


def test_a_table_has_no_place_for_what_is_included(server: ServerProcess):
    body = {"instances": [ROW], "include": ["curves"]}
    answer = server.client.post("/explain", json=body, headers={"Accept": "text/csv"})
    assert answer.status_code == 406
    assert "include" in answer.json()["detail"]


def test_the_schema_says_what_can_be_included(server: ServerProcess):
    schema = server.client.get("/openapi.json").json()
    body = schema["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = body["properties"]["include"]["anyOf"][0]["items"]["enum"]
    refusal = server.client.post("/explain", json={"instances": [ROW], "include": ["x"]}).json()["detail"]
    assert all(name in refusal for name in names)
    assert set(names) <= set(schema["components"]["schemas"]["RowExplanation"]["properties"])
