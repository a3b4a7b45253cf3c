"""The JSON Schema of a model's rows: valid, and whatever it accepts the service answers."""

from __future__ import annotations

import jsonschema
import pytest
from tests.support.made_models import FEATURES, ROW, make_rows
from tests.support.server_process import ServerProcess


@pytest.fixture(scope="module")
def schema(server: ServerProcess) -> dict:
    answer = server.client.get("/models/price/schema")
    assert answer.headers["content-type"] == "application/schema+json"
    return answer.json()


def test_rows_are_valid_and_mistakes_are_not(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for row in [ROW, {}, *make_rows(30), *schema["examples"]]:
        validator.validate(row)
    for wrong in ({"agee": 3}, {"age": "old"}, {"member": 2}, {"city": []}, [1, 2, 3, 4, 5]):
        assert not validator.is_valid(wrong)


@pytest.mark.parametrize("name", ["price", "choice", "level", "count"])
def test_the_example_is_answered_and_its_prediction_is_as_described(server, name):
    document = server.client.get(f"/models/{name}/schema").json()
    answer = server.client.post("/predict", json={"model": name, "instances": document["examples"]})
    assert answer.status_code == 200
    for prediction in answer.json()["predictions"]:
        jsonschema.validate(prediction, document["$defs"]["prediction"])


def test_features_are_described_by_what_training_knew(schema):
    assert list(schema["properties"]) == [feature.name for feature in FEATURES]
    assert schema["properties"]["age"]["description"].startswith("From 17 to 90 in training.")
    assert schema["properties"]["city"]["anyOf"][0]["enum"] == ["Paris", "Rome", "3"]


def test_versions_have_their_schema_and_unknown_ones_have_none(server):
    assert "version 1" in server.client.get("/models/price/schema?version=1").json()["title"]
    assert server.client.get("/models/price/schema?version=9").status_code == 404
    assert server.client.get("/models/nothing/schema").status_code == 404


def test_openapi_describes_the_rows_of_the_models_served_now(server):
    document = server.client.get("/openapi.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    items = body["schema"]["properties"]["instances"]["items"]["anyOf"]
    assert {"$ref": "#/components/schemas/choice.Row"} in items
    assert set(document["components"]["schemas"]["price.Row"]["properties"]) == {feature.name for feature in FEATURES}
    for name in ("price", "level"):
        example = body["examples"][name]["value"]
        assert server.client.post("/predict", json=example).json()["model"] == name
        assert server.client.post("/explain", json=example).status_code == 200
    assert server.client.get("/openapi.json").json() == document
