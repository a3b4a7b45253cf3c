"""The client against a real server: DataFrames in and out, missing values, Arrow, retries, errors."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import httpx
import numpy as np
import pandas as pd
import polars
import pytest
from tests.support.made_models import make_model, make_rows
from tests.support.server_process import ServerProcess, running_server

from eigenserve.client import AsyncClient, Client, ServiceError
from eigenserve.client.exchanges import ARROW_ROWS
from eigenserve.model import ModelStore

COLUMNS = ["age", "income", "member", "city", "rate"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    made = ModelStore(tmp_path_factory.mktemp("store"))
    made.save("price", make_model(seed=1))
    made.save("choice", make_model("binary", seed=3))
    return made


@pytest.fixture(scope="module")
def server(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with running_server(store.root, log, EIGENSERVE_DEFAULT_MODEL="price") as running:
        yield running
        assert "Traceback" not in running.log_text()


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def frame_of(count: int) -> pd.DataFrame:
    """Rows with NaN, in an order and with an index that are not the model's, and a column too many for Arrow."""
    frame = pd.DataFrame(make_rows(count, seed=5), columns=COLUMNS[::-1])
    return frame.set_index(np.arange(count)[::-1] * 2)


@pytest.mark.parametrize("count", [7, ARROW_ROWS + 1, 10_003])
@pytest.mark.parametrize("name", ["price", "choice"])
def test_a_frame_is_answered_by_a_frame_of_the_models_own_predictions(client, store, count, name):
    frame, model = frame_of(count), store.load(name)
    answer = client.predict(frame, model=name)
    assert answer.index.equals(frame.index)
    assert answer["warnings"].tolist() == model.warnings(frame).texts()
    if name == "price":
        assert list(answer) == ["prediction", "warnings"]
        assert answer["prediction"].tolist() == model.predict(frame).tolist()
    else:
        assert list(answer) == ["label", "probabilities.false", "probabilities.true", "warnings"]
        assert answer["probabilities.true"].tolist() == model.predict_proba(frame)[:, 1].tolist()


def test_polars_frames_lists_and_arrays_are_answered_alike(client, store):
    rows = make_rows(600, seed=2)
    expected = store.load("price").predict(rows).tolist()
    assert client.predict(rows) == expected
    assert client.predict([[row.get(name, math.nan) for name in COLUMNS] for row in rows]) == expected
    frame = polars.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], strict=False)
    for part in (frame, frame.head(5)):
        answer = client.predict(part)
        assert isinstance(answer, polars.DataFrame)
        assert answer["prediction"].to_list() == expected[: len(part)]
    array = np.array([[row.get(name) for name in COLUMNS] for row in rows], object)
    assert client.predict(array) == expected


def test_missing_values_of_every_library_are_null(client, store):
    row = {"age": 31, "income": 5e4, "member": True, "city": "Rome"}
    expected = store.load("price").predict([{**row, "age": None}]).tolist()
    for absent in (None, math.nan, np.float64("nan"), np.float32("nan"), pd.NA, pd.NaT):
        assert client.predict([{**row, "age": absent}]) == expected
    with pytest.raises(ValueError, match=r"row 0, 'age' must be finite or missing; got inf"):
        client.predict([{**row, "age": math.inf}])


@pytest.mark.parametrize("count", [3, ARROW_ROWS + 1])
def test_explanations_of_frames_add_up_and_have_the_same_columns_in_json_and_arrow(client, count):
    answer = client.explain(frame_of(count), method="integrated")
    terms = answer.filter(like="contributions.")
    assert np.allclose(answer["baseline"] + terms.sum(axis=1), answer["score"], rtol=1e-9, atol=1e-9)
    assert list(answer)[:3] == ["prediction", "score", "baseline"]
    assert list(answer)[-2:] == ["gap", "warnings"]
    assert "contributions.age & rate" in answer


def test_explanations_and_reasons_of_lists_are_the_services_entries(client, store):
    rows = make_rows(3, seed=3)
    explained = client.explain(rows, method="shapley", baseline=rows[:2], target=None)
    assert explained[0]["contributions"].keys() == set(COLUMNS)
    reasons = client.reasons(rows, cutoff=0.0, adverse="below", n=2, model="price")
    expected = store.load("price").reasons(rows, 0.0, adverse="below", n=2)
    assert [entry["adverse"] for entry in reasons] == [entry.adverse for entry in expected]
    frame = client.reasons(pd.DataFrame(rows), cutoff=0.0, adverse="below", n=2, model="price")
    assert frame["reasons"].map(len).max() <= 2


@pytest.mark.parametrize("count", [4, ARROW_ROWS + 1])
def test_kept_columns_and_ids_come_back_in_json_and_arrow(client, count):
    frame = frame_of(count).assign(id=[f"row {i}" for i in range(count)])
    frame["when, exactly"] = pd.Timestamp("2026-01-02") + pd.to_timedelta(range(count), unit="D")
    frame["branch"] = range(count)
    for ask in (client.predict, partial(client.explain, method="eigenvector"), partial(client.reasons, cutoff=0.0)):
        for keep in (["branch", "age"], ["when, exactly"]):
            if count > ARROW_ROWS and "branch" not in keep and ask is not client.predict:
                continue  # proved above, and takes a while as JSON
            others = [name for name in ("branch", "when, exactly") if name not in keep]
            answer = ask(frame.drop(columns=others), keep=keep)
            assert list(answer)[: len(keep) + 1] == [*keep, "id"]
            pd.testing.assert_frame_equal(answer[[*keep, "id"]], frame[[*keep, "id"]])
    if count > ARROW_ROWS:
        return
    rows = [{"id": i, "branch": "north", **row} for i, row in enumerate(make_rows(3))]
    plain = client.predict([{k: v for k, v in row.items() if k not in ("id", "branch")} for row in rows])
    kept = [{"branch": "north", "id": i} for i in range(3)]
    assert client.predict(rows, keep="branch") == [
        {"prediction": value, "kept": handed} for value, handed in zip(plain, kept, strict=True)
    ]
    assert [entry["kept"] for entry in client.explain(rows, keep=["branch"])] == kept
    assert [entry["kept"] for entry in client.reasons(rows, cutoff=0.0, keep=["branch"])] == kept
    assert client.predict([{k: v for k, v in rows[0].items() if k != "branch"}, {}]) == [
        {"prediction": plain[0], "kept": {"id": 0}},
        {"prediction": client.predict([{}])[0], "kept": {"id": None}},
    ]


BOTH = pytest.mark.parametrize("count", [4, ARROW_ROWS], ids=["JSON", "Arrow"])


def refusal(ask: partial[object]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        ask()
    return caught.value


@BOTH
def test_labels_are_the_models_own(client, store, count):
    frame = frame_of(count)
    assert client.predict(frame, model="choice")["label"].tolist() == store.load("choice").predict(frame).tolist()
    assert client.predict(frame, model="choice")["label"].dtype == bool


@BOTH
def test_frames_are_tables_whatever_their_size(client, count):
    frame = frame_of(count)
    plain, more = client.predict(frame), frame.assign(value=math.inf, what=[{"a": 1}] * count)
    pd.testing.assert_frame_equal(client.predict(more), plain)
    assert len(client.explain(more, method="eigenvector")) == count
    if count < ARROW_ROWS:
        assert len(client.reasons(more, cutoff=0.0)) == count
    absent = refusal(partial(client.predict, frame.drop(columns="rate")))
    assert absent.errors == [{"loc": ["instances"], "msg": "the table must have the column 'rate'"}]
    clash = refusal(partial(client.predict, frame.assign(prediction=1.0), keep=["prediction"]))
    assert clash.detail == "keep: must not name a column of the answer; 'prediction' is one"
    infinite = refusal(partial(client.predict, frame.assign(age=math.inf)))
    assert infinite.errors[0]["loc"] == ["instances", 0, "age"]
    assert "must be a finite number" in infinite.detail
    empty_ids = client.predict(frame.assign(id=None))
    assert list(empty_ids) == ["id", *plain]
    with pytest.raises(ValueError, match="two are called 'age'"):
        client.predict(frame.rename(columns={"rate": "age"}))


@BOTH
def test_strictness_is_asked_for(client, count):
    frame = frame_of(count).assign(age=1e6)
    for strict in (True, "range", ["range", "unseen"]):
        refused = refusal(partial(client.predict, frame, strict=strict))
        assert refused.errors[0]["loc"] == ["instances", 0, "age"]
    assert len(client.predict(frame, strict=["certified"])) == len(client.predict(frame, strict=False)) == count


@pytest.mark.parametrize("size", [4, ARROW_ROWS], ids=["JSON", "Arrow"])
def test_errors_name_the_callers_row(client, monkeypatch, size):
    monkeypatch.setattr("eigenserve.client.exchanges.ROWS_AT_ONCE", size)
    frame = frame_of(3 * size)
    frame["age"] = frame["age"].astype(object)
    frame.iloc[2 * size + 1, list(frame).index("age")] = "very old"
    refused = refusal(partial(client.predict, frame))
    assert refused.errors[0]["loc"] == ["instances", 2 * size + 1, "age"]
    assert refused.detail.startswith(f"instances[{2 * size + 1}].age: ")
    rows = [{}] * (3 * size)
    rows[-1] = {"age": math.inf}
    with pytest.raises(ValueError, match=f"row {3 * size - 1}, 'age'"):
        client.predict(rows)


def test_errors_say_what_is_wrong_and_are_not_retried(client):
    with pytest.raises(ServiceError) as caught:
        client.predict([{"age": "very old"}])
    assert caught.value.status == 422
    assert caught.value.errors[0]["loc"] == ["instances", 0, "age"]
    assert caught.value.request_id
    with pytest.raises(ServiceError, match="404: no model 'nothing'"):
        client.predict([{}], model="nothing")
    with pytest.raises(TypeError, match="unknown option modle"):
        client.predict([{}], modle="price")
    with pytest.raises(TypeError, match="rows must be a list of rows"):
        client.predict("row")
    with pytest.raises(ValueError, match="at least one row"):
        client.predict([])


def test_models_schema_and_ready(client, server):
    assert {model["name"] for model in client.models()} == {"price", "choice"}
    assert client.model("price")["target"] == "target"
    assert set(client.schema("price")["properties"]) == set(COLUMNS)
    assert client.ready()
    with Client("http://127.0.0.1:9", retries=0) as nowhere:
        assert not nowhere.ready()
        with pytest.raises(httpx.ConnectError):
            nowhere.models()


def test_the_async_client_gives_the_same(server, client):
    frame = frame_of(ARROW_ROWS + 1)

    async def ask():
        async with AsyncClient(server.url) as made:
            return await asyncio.gather(made.predict(frame), made.explain(frame.head(2)), made.ready(), made.models())

    predicted, explained, ready, models = asyncio.run(ask())
    pd.testing.assert_frame_equal(predicted, client.predict(frame))
    pd.testing.assert_frame_equal(explained, client.explain(frame.head(2)))
    assert ready
    assert len(models) == 2


class Busy(httpx.BaseTransport):
    """Answers with these, in order; None breaks the connection."""

    def __init__(self, *answers: httpx.Response | None) -> None:
        self.answers, self.requests = list(answers), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        answer = self.answers.pop(0)
        if answer is None:
            raise httpx.ReadError("broken", request=request)
        return answer


def good() -> httpx.Response:
    return httpx.Response(200, json={"version": "1", "predictions": [1.0]})


def test_a_request_is_sent_again_when_retry_after_says_so(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("eigenserve.client.clients.time.sleep", pauses.append)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    busy = Busy(
        httpx.Response(503, headers={"retry-after": "3"}),
        httpx.Response(429, headers={"retry-after": soon}),
        None,
        good(),
    )
    with Client(transport=busy) as client:
        assert client.predict([{}]) == [1.0]
    assert busy.requests == 4
    assert pauses[0] == 3.0
    assert 7.0 <= pauses[1] <= 9.0
    assert 0.5 <= pauses[2] <= 1.0


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (httpx.Response(503, headers={"retry-after": "3"}), {"retries": 0}),
        (httpx.Response(503, headers={"retry-after": "90"}), {}),
        (httpx.Response(504), {}),
        (httpx.Response(422, text="a proxy's page"), {}),
    ],
)
def test_what_will_not_get_better_soon_is_raised_at_once(answer, options):
    busy = Busy(answer)
    with Client(transport=busy, **options) as client, pytest.raises(ServiceError) as caught:
        client.predict([{}])
    assert (busy.requests, caught.value.status) == (1, answer.status_code)


@pytest.mark.parametrize("status", [413, 504])
def test_rows_that_are_too_many_are_sent_in_smaller_parts(status):
    def answer(request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["instances"]
        if len(rows) > 150:
            return httpx.Response(status, json={"detail": "too many"})
        return httpx.Response(200, json={"version": "1", "predictions": [row[0] for row in rows]})

    with Client(transport=httpx.MockTransport(answer)) as client:
        assert client.predict([[i] for i in range(1000)]) == list(range(1000))
    refusing = httpx.MockTransport(lambda _: httpx.Response(status))
    with Client(transport=refusing) as client, pytest.raises(ServiceError):
        client.predict([[0]])

    async def ask() -> object:
        async with AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await client.predict([[i] for i in range(200)])

    assert asyncio.run(ask()) == list(range(200))
