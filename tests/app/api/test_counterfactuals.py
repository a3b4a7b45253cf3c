"""POST /counterfactuals, over HTTP from a real server."""

from __future__ import annotations

import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess

NAMES = tuple(feature.name for feature in FEATURES)


def ask(server: ServerProcess, rows: list, **body):
    return server.client.post("/counterfactuals", json={"instances": rows, **body})


def predict(server: ServerProcess, rows: list, name: str) -> list:
    return server.client.post("/predict", json={"instances": rows, "model": name}).json()["predictions"]


def other(name: str, prediction):
    """A goal that the prediction misses."""
    if isinstance(prediction, float):
        return {"below": 0.98 * prediction} if name == "count" else {"above": prediction + 0.3}
    shares = prediction["probabilities"]
    return {"class": sorted(shares, key=shares.get)[-2]}


def reaches(prediction, wanted: dict) -> bool:
    ((kind, value),) = wanted.items()
    if kind == "class":
        return str(prediction["label"]).lower() == value.lower()
    number = prediction if isinstance(prediction, float) else prediction["probabilities"]["true"]
    return number >= value if kind == "above" else number <= value


@pytest.mark.parametrize("name", ["price", "choice", "level", "count", "point"])
def test_changed_rows_are_predicted_to_be_what_was_wanted(server: ServerProcess, name: str):
    reached = 0
    for row in make_rows(8, seed=4):
        (before,) = predict(server, [row], name)
        wanted = other(name, before)
        answer = ask(server, [row], model=name, wanted=wanted)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["model"] == name
        (found,) = body["counterfactuals"]
        distances = [one["distance"] for one in found]
        assert distances == sorted(distances)
        for one in found:
            changed = {**row, **{feature: change["to"] for feature, change in one["changes"].items()}}
            (after,) = predict(server, [changed], name)
            assert after == one["prediction"]
            assert reaches(after, wanted)
            for feature, change in one["changes"].items():
                known = feature != "city" or row["city"] in ("Paris", "Rome", "3")
                assert change["from"] == (row[feature] if known or row[feature] is None else "(unseen)")
            reached += 1
    assert reached >= 4


def test_options_are_honoured_and_a_row_that_is_there_already_has_no_changes(server: ServerProcess):
    (prediction,) = predict(server, [ROW], "price")
    wanted = {"above": prediction + 0.2}
    free = ask(server, [ROW], model="price", wanted=wanted).json()["counterfactuals"][0]
    names = {name for one in free for name in one["changes"]}
    assert names
    fixed = sorted(names)[:1]
    held = ask(server, [ROW], model="price", wanted=wanted, fixed=fixed).json()["counterfactuals"][0]
    assert not {name for one in held for name in one["changes"]} & set(fixed)
    alone = ask(server, [ROW], model="price", wanted=wanted, max_features=1).json()["counterfactuals"][0]
    assert {len(one["changes"]) for one in alone} <= {1}
    narrow = ask(server, [ROW], model="price", wanted=wanted, ranges={"age": [30, 32.5]}).json()["counterfactuals"][0]
    assert all(30 <= one["changes"]["age"]["to"] <= 32.5 for one in narrow if "age" in one["changes"])
    there = ask(server, [ROW, ROW], model="price", wanted={"below": prediction + 1.0}).json()["counterfactuals"]
    assert [[one["changes"] for one in row] for row in there] == [[{}], [{}]]
    rules = {"directions": {"age": "up"}, "values": {"rate": [-1, 0.5, 2]}, "orders": {"city": ["3", "Rome", "Paris"]}}
    ruled = ask(server, [ROW], model="price", wanted=wanted, max_features=3, radius=0.01, **rules).json()
    assert ruled["counterfactuals"][0]
    for one in ruled["counterfactuals"][0]:
        changes = {name: change["to"] for name, change in one["changes"].items()}
        assert changes.get("age", 99) > ROW["age"]
        assert changes.get("rate", 2) in (-1, 0.5, 2)
        assert one["radius"] == 0.01
        assert one["plausibility"] is None
    (probability,) = predict(server, [ROW], "choice")
    share = 0.5 * (1.0 + probability["probabilities"]["true"])
    for one in ask(server, [ROW], model="choice", wanted={"above": share}).json()["counterfactuals"][0]:
        assert one["prediction"]["probabilities"]["true"] >= share


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ({}, ["wanted"], "must be given"),
        ({"wanted": 3}, ["wanted"], "got 3"),
        ({"wanted": {}}, ["wanted"], "one of"),
        ({"wanted": {"above": 1, "below": 2}}, ["wanted"], "one of"),
        ({"wanted": {"above": "x"}}, ["wanted"], "above must be a number"),
        ({"wanted": {"class": "x"}}, ["wanted", "class"], "left out"),
        ({"wanted": {"class": "x"}, "model": "level"}, ["wanted", "class"], "low"),
        ({"wanted": {"class": ["x"]}, "model": "level"}, ["wanted", "class"], "an array"),
        ({"wanted": {"class": None}, "model": "level"}, ["wanted"], "low"),
        ({"wanted": {"above": 0.5}, "model": "level"}, ["wanted"], "several classes"),
        ({"wanted": {"above": 2}, "model": "choice"}, ["wanted"], "above 0 and below 1"),
        ({"wanted": {"above": 1}, "fixed": "age"}, ["fixed"], "list"),
        ({"wanted": {"above": 1}, "fixed": ["size"]}, ["fixed", 0], "age, income"),
        ({"wanted": {"above": 1}, "ranges": [1]}, ["ranges"], "an array"),
        ({"wanted": {"above": 1}, "ranges": {"size": [1, 2]}}, ["ranges", "size"], "age, income"),
        ({"wanted": {"above": 1}, "ranges": {"age": 1}}, ["ranges", "age"], "[low, high]"),
        ({"wanted": {"above": 1}, "ranges": {"age": [2, 1]}}, ["ranges", "age"], "low <= high"),
        ({"wanted": {"above": 1}, "ranges": {"age": [None, 1]}}, ["ranges", "age", 0], "null"),
        ({"wanted": {"above": 1}, "ranges": {"city": [0, 1]}}, ["ranges", "city"], "not a number"),
        ({"wanted": {"above": 1}, "max_features": 5}, ["max_features"], "less than or equal to 4"),
        ({"wanted": {"above": 1}, "radius": 0}, ["radius"], "greater than 0"),
        ({"wanted": {"above": 1}, "directions": {"age": "left"}}, ["directions", "age"], "'up' or 'down'"),
        ({"wanted": {"above": 1}, "directions": {"size": "up"}}, ["directions", "size"], "age, income"),
        ({"wanted": {"above": 1}, "directions": {"city": "up"}}, ["directions", "city"], "no order"),
        ({"wanted": {"above": 1}, "values": {"city": ["Atlantis"]}}, ["values", "city"], "must be one of"),
        ({"wanted": {"above": 1}, "values": {"age": ["old"]}}, ["values", "age"], "a finite number"),
        ({"wanted": {"above": 1}, "orders": {"age": [1, 2]}}, ["orders", "age"], "only categories"),
        ({"wanted": {"above": 1}, "max_features": True}, ["max_features"], "got true"),
        ({"wanted": {"above": 1}, "method": "path"}, ["method"], "unknown key"),
        ({"wanted": {"above": 1}, "instances": [{"age": "x"}]}, ["instances", 0, "age"], "number"),
        ({"wanted": {"above": 1}, "instances": []}, ["instances"], "at least one"),
    ],
)
def test_a_bad_request_is_refused_with_where_and_what(server: ServerProcess, body, loc, says):
    answer = server.client.post("/counterfactuals", json={"instances": [ROW], **body})
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["loc"] == loc
    assert says in answer.json()["errors"][0]["msg"]


def test_other_faults_are_those_of_every_endpoint(server: ServerProcess):
    body = {"instances": [ROW], "wanted": {"above": 1}}
    assert server.client.post("/counterfactuals", json={**body, "model": "none"}).status_code == 404
    assert (
        server.client.post("/counterfactuals", content=b"a,b", headers={"Content-Type": "text/csv"}).status_code == 415
    )
    assert server.client.post("/counterfactuals", json={**body, "instances": [ROW] * 6000}).status_code == 413
    assert server.client.get("/counterfactuals").status_code == 405


def test_the_schema_documents_it(server: ServerProcess):
    schema = server.client.get("/openapi.json").json()["paths"]["/counterfactuals"]["post"]
    body = schema["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"instances", "wanted"}
    assert set(schema["responses"]) >= {"200", "404", "413", "415", "422", "503", "504"}
