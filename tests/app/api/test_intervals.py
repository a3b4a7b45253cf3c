"""Prediction intervals over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.made_models import make_model, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore, SpectralModel, load_model

RADII = {"0.5": 0.25, "0.9": 1.5, "0.95": 2.125}


def with_intervals(model: SpectralModel) -> SpectralModel:
    return replace(model, card={**model.card, "intervals": RADII})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    made = ModelStore(tmp_path_factory.mktemp("store"))
    made.save("price", with_intervals(make_model()))
    made.save("plain", make_model())
    made.save("choice", make_model("binary"))
    return made


@pytest.fixture(scope="module")
def sure(kept: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with running_server(kept.root, log, EIGENSERVE_DEFAULT_MODEL="price") as running:
        yield running
        assert "Traceback" not in running.log_text()


@pytest.mark.parametrize("count", [1, 3, 2000])  # on the event loop, and on a thread
def test_intervals_come_with_the_predictions(sure: ServerProcess, kept: ModelStore, count: int):
    rows = make_rows(count)
    answer = sure.client.post("/predict", json={"instances": rows, "interval": 0.9})
    assert answer.status_code == 200
    body, model = answer.json(), load_model(kept.root / "price")
    assert body["predictions"] == model.predict(rows).tolist()
    assert body["intervals"] == [[p - 1.5, p + 1.5] for p in body["predictions"]]
    assert body["intervals"] == model.predict_interval(rows, 0.9).tolist()


@pytest.mark.parametrize("interval", [{}, {"interval": None}])
def test_none_come_unasked(sure: ServerProcess, interval: dict[str, None]):
    body = sure.client.post("/predict", json={"instances": make_rows(2), **interval}).json()
    assert set(body) == {"model", "version", "predictions", "warnings"}


def test_a_table_has_them_as_columns(sure: ServerProcess):
    rows = make_rows(3)
    text = "age,income,member,city,rate\n" + "\n".join(
        ",".join(str(row.get(name, "")) if row.get(name) is not None else "" for name in ("age", "income"))
        + f",{str(row['member']).lower()},Rome,{row['rate']}"
        for row in rows
    )
    headers = {"Content-Type": "text/csv"}
    answer = sure.client.post("/predict", params={"interval": "0.95"}, content=text, headers=headers)
    assert answer.status_code == 200, answer.text
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert list(table[0]) == ["prediction", "low", "high", "warnings"]
    for line in table:
        assert float(line["low"]) == float(line["prediction"]) - 2.125
        assert float(line["high"]) == float(line["prediction"]) + 2.125
    refused = sure.client.post("/predict", params={"interval": "much"}, content=text, headers=headers)
    assert refused.status_code == 422


@pytest.mark.parametrize("level", [0.8, 0.9000001, 1, 0, -1, "0.9", True, [0.9], {}])
def test_a_level_that_is_not_kept_is_refused_with_those_that_are(sure: ServerProcess, level: object):
    answer = sure.client.post("/predict", json={"instances": make_rows(1), "interval": level})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["interval"]
    assert "must be one of 0.5, 0.9, 0.95; got" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["plain", "choice"])
def test_a_model_without_intervals_says_so(sure: ServerProcess, kept: ModelStore, name: str):
    answer = sure.client.post("/predict", json={"instances": make_rows(1), "model": name, "interval": 0.9})
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"interval: must be left out: {name} keeps no intervals"
    with pytest.raises(ValueError, match="level must be one of none: no intervals are kept; got"):
        load_model(kept.root / name).predict_interval(make_rows(1))


def test_explanations_take_no_interval(sure: ServerProcess):
    answer = sure.client.post("/explain", json={"instances": make_rows(1), "interval": 0.9})
    assert answer.status_code == 422
    assert "unknown key" in answer.json()["detail"]
