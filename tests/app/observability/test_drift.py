"""Drift of what a server answers: no alarm for rows like training, alarms for shifts, in one worker and in two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.drifting import like_training, sketched_model
from tests.support.made_models import make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.model import ModelStore


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = ModelStore(tmp_path_factory.mktemp("store"))
    for name in ("still", "shifted", "gaps", "doubled"):
        store.save(name, sketched_model())
    store.save("old", make_model())
    log = tmp_path_factory.mktemp("log") / "server.log"
    with running_server(store.root, log, EIGENSERVE_WORKERS=str(request.param)) as running:
        yield running
        assert "Traceback" not in running.log_text()


def drift_of(server: ServerProcess, name: str, rows: int, window: str = "recent") -> dict:
    """Wait until so many rows are counted."""
    deadline = time.monotonic() + 30.0
    while True:
        report = server.client.get(f"/models/{name}/drift").json()["windows"][window]
        if report["rows"] >= rows or time.monotonic() > deadline:
            assert report["rows"] >= rows
            return report
        time.sleep(0.2)


def same(_: int, row: dict) -> dict:
    return row


def predict(server: ServerProcess, name: str, seed: int, change: Callable[[int, dict], dict] = same) -> None:
    """Send 2,000 rows in requests of 20 and of 380, so that both ways through the engine are taken."""
    rows = [change(i, row) for i, row in enumerate(like_training(2000, seed))]
    start = 0
    while start < len(rows):
        size = 20 if start % 400 == 0 else 380
        # A connection each, so that workers share them.
        with server.client.__class__(base_url=server.url, timeout=60.0) as client:
            answer = client.post("/predict", json={"model": name, "instances": rows[start : start + size]})
        assert answer.status_code == 200, answer.text
        start += size


def alarmed(report: dict) -> set[str]:
    return {channel["name"] for channel in report["channels"] if channel["alarm"]}


def test_rows_like_training_raise_no_alarm_and_changed_ones_do(server: ServerProcess):
    predict(server, "still", seed=11)
    predict(server, "shifted", seed=12, change=lambda _, row: {**row, "rate": row["rate"] + 0.2})
    predict(server, "gaps", seed=13, change=lambda i, row: {**row, "income": None} if i % 50 == 0 else row)
    predict(server, "doubled", seed=14, change=lambda i, row: {**row, "city": "Rome"} if i % 15 == 0 else row)
    for window in ("recent", "day"):
        still = drift_of(server, "still", 2000, window)
        assert (still["alarms"], alarmed(still)) == (0, set())
        assert {channel["kind"] for channel in still["channels"]} == {"feature", "score", "contribution"}
        assert "rate" in alarmed(drift_of(server, "shifted", 2000, window))
        assert "income" in alarmed(drift_of(server, "gaps", 2000, window))
        doubled = drift_of(server, "doubled", 2000, window)
        city = next(channel for channel in doubled["channels"] if channel["name"] == "city")
        assert city["changed"]["bin"] == "Rome"
        assert city["alarm"]


def test_prometheus_reads_what_the_answer_says(server: ServerProcess):
    predict(server, "still", seed=15)
    report = drift_of(server, "still", 2000)
    text = server.client.get("/metrics").text
    wanted = {'name="age"', 'model="still"', 'window="recent"', 'kind="feature"'}
    (line,) = (
        line
        for line in text.splitlines()
        if line.startswith("eigenserve_drift_psi{") and all(label in line for label in wanted)
    )
    age = next(channel for channel in report["channels"] if channel["name"] == "age")
    assert float(line.rsplit(" ", 1)[1]) == pytest.approx(age["psi"])
    assert "eigenserve_drift_alarms{" in text


def test_a_model_without_a_sketch_is_served_and_says_so(server: ServerProcess):
    assert server.client.post("/predict", json={"model": "old", "instances": [{}]}).status_code == 200
    answer = server.client.get("/models/old/drift")
    assert answer.status_code == 404
    assert "keeps no sketch" in answer.json()["detail"]
    assert server.client.get("/models/still/drift?version=7").status_code == 404
