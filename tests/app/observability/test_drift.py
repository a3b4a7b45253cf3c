"""Drift of what a server answers: no alarm for rows like training, alarms for shifts, in one worker and in two."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from tests.support.drifting import like_training, sketched_model
from tests.support.made_models import make_model
from tests.support.server_process import ServerProcess, running_server

from eigenserve.app.observability.drift.outcomes import INBOX_BYTES, INBOX_S, Outcome, Outcomes
from eigenserve.app.registry import ServedModel
from eigenserve.model import ModelStore

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = ModelStore(tmp_path_factory.mktemp("store"))
    for name in ("still", "shifted", "gaps", "doubled", "labelled", "relabelled", "scraped"):
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
    predict(server, "scraped", seed=15)
    report = drift_of(server, "scraped", 2000)
    text = server.client.get("/metrics").text
    wanted = {'name="age"', 'model="scraped"', 'window="recent"', 'kind="feature"'}
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


def accuracy_of(server: ServerProcess, name: str, rows: int) -> dict:
    deadline = time.monotonic() + 20.0
    while True:
        report = server.client.get(f"/models/{name}/drift").json()["outcomes"]
        if report["rows"] >= rows or time.monotonic() > deadline:
            assert report["rows"] == rows
            return report
        time.sleep(0.2)


def test_outcomes_by_request_id_and_by_rows_give_live_accuracy(server: ServerProcess):
    rows = like_training(30, seed=21)
    for start in range(0, 30, 10):
        with server.client.__class__(base_url=server.url) as client:
            answer = client.post("/predict", json={"model": "labelled", "instances": rows[start : start + 10]})
            request_id = answer.headers["x-request-id"]
        labels = [value + 0.5 * (-1) ** i for i, value in enumerate(answer.json()["predictions"])]
        with server.client.__class__(base_url=server.url) as client:  # perhaps another worker
            given = [{"request_id": request_id, "row": i, "outcome": y} for i, y in enumerate(labels)]
            joined = client.post("/outcomes", json={"outcomes": given})
        assert joined.status_code == 200, joined.text
        assert joined.json()["counted"] + joined.json()["forwarded"] == 10
    report = accuracy_of(server, "labelled", 30)
    assert report["metrics"]["rmse"]["value"] == pytest.approx(0.5)
    assert report["metrics"]["bias"]["value"] == pytest.approx(0.0, abs=1e-9)
    predicted = server.client.post("/predict", json={"model": "labelled", "instances": rows}).json()["predictions"]
    again = server.client.post("/outcomes", json={"model": "labelled", "instances": rows, "outcomes": predicted})
    assert again.json() == {"counted": 30, "refused": 0, "forwarded": 0, "unknown": 0}
    report = accuracy_of(server, "labelled", 60)
    assert report["metrics"]["mae"]["value"] == pytest.approx(0.25)
    assert (
        'eigenserve_outcomes_metric{metric="mae",model="labelled",version="1"} 0.25'
        in server.client.get("/metrics").text
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"outcomes": []}, "must have 1 to"),
        ({"outcomes": [1.0]}, "must be objects such as"),
        ({"outcomes": [1.0, 2.0], "instances": [{}], "model": "labelled"}, "one for each row, 1; got 2"),
        ({"outcomes": ["high"], "instances": [{}], "model": "labelled"}, "must be a finite number"),
        ({"outcomes": [True], "instances": [{}], "model": "labelled"}, "must be a finite number"),
        ({"outcomes": [{"request_id": "x", "value": 1}]}, '"outcomes[0].outcome: must be given (and 1 more)"'),
        ({"outcomes": [{"request_id": "x", "outcome": 1, "value": 1}]}, "the keys are outcome, request_id, row"),
        ({"outcomes": [None]}, '"outcomes[0]: must be an object or a number or a text or true or false; got null"'),
        (
            {"outcomes": [{"request_id": "x", "row": -1, "outcome": 1}]},
            '"outcomes[0].row: must be greater than or equal to 0; got -1"',
        ),
        (
            {"outcomes": [{"request_id": "x", "outcome": 1}, {"request_id": "x", "outcome": "high"}]},
            "\"outcomes[1].outcome: must be a finite number; got 'high'\"",
        ),
        ({"outcomes": [{"request_id": "x" * 129, "outcome": 1}]}, "at most 128 characters"),
        ({"outcomes": [{"request_id": "x", "outcome": "y" * 513}]}, "at most 512 characters"),
        ({}, "must be given"),
    ],
)
def test_outcomes_that_cannot_be_joined_are_named(server: ServerProcess, body: dict, words: str):
    answer = server.client.post("/outcomes", json=body)
    assert answer.status_code == 422
    assert words in answer.text


def test_a_row_has_one_outcome_and_what_is_not_one_is_refused_alone(server: ServerProcess):
    """In every worker, whichever has answered the request."""
    rows = like_training(20, seed=31)
    answer = server.client.post("/predict", json={"model": "relabelled", "instances": rows})
    predicted, request_id = answer.json()["predictions"], answer.headers["x-request-id"]
    wrong = [{"request_id": request_id, "row": 20, "outcome": 1.0}]
    for shift in (3.0, 3.0, 2.0, 0.5, 0.5):
        given = [{"request_id": request_id, "row": i, "outcome": y + shift} for i, y in enumerate(predicted)]
        with server.client.__class__(base_url=server.url) as client:
            joined = client.post("/outcomes", json={"outcomes": wrong + given}).json()
        assert joined in (
            {"counted": 20, "refused": 1, "forwarded": 0, "unknown": 0},
            {"counted": 0, "refused": 0, "forwarded": 21, "unknown": 0},
        )
        time.sleep(1.5)  # what is forwarded is taken within a second
    report = accuracy_of(server, "relabelled", 20)
    assert report["metrics"]["bias"]["value"] == pytest.approx(0.5)
    assert report["metrics"]["rmse"]["value"] == pytest.approx(0.5)
    assert 'eigenserve_outcomes_total{result="refused"} 5.0' in server.client.get("/metrics").text


def test_what_no_worker_takes_is_counted_as_unknown(tmp_path, monkeypatch):
    model = sketched_model()
    served, rows = ServedModel("a", 1, model), model.features.encode(like_training(3, seed=1))
    asked, other = Outcomes(10), Outcomes(10)
    settled: Counter[str] = Counter()
    for each in (asked, other):
        each.share(tmp_path)
        each.on_settled = lambda result, count: settled.update({result: count})
    other.note("known", served, model.scores(rows))
    left = [Outcome("known", 0, 1.0), Outcome("known", 9, 1.0), Outcome("never", 0, 1.0)]
    assert asked.settle(left).unknown == left
    assert asked.forward(left)
    assert other.tick([served])
    assert +settled == {"counted": 1, "refused": 1}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + INBOX_S + 1)
    asked.tick([served])
    assert +settled == {"counted": 1, "refused": 1, "unknown": 1}
    assert not list(tmp_path.glob("*.taken"))


def test_unknown_requests_are_counted_as_such(server: ServerProcess):
    answer = server.client.post("/outcomes", json={"outcomes": [{"request_id": "never", "outcome": 1.0}]})
    assert answer.json()["counted"] == 0
    assert answer.json()["unknown"] + answer.json()["forwarded"] == 1


def test_what_is_left_to_other_workers_is_bounded(tmp_path, caplog, monkeypatch):
    outcomes = Outcomes(10)
    outcomes.share(tmp_path)
    unknown = [Outcome(f"{i}".rjust(128), 0, 1.0) for i in range(10_000)]
    assert [outcomes.forward(unknown) for _ in range(20)] == [True] * 5 + [False] * 15
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= INBOX_BYTES
    assert caplog.text.count("outcomes are not handed on") == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + INBOX_S + 1)
    assert outcomes.forward(unknown)
