"""POST /explain by the integrated method: its baseline, the population compared with, and what is refused."""

import csv
import io

import httpx
import pytest
from tests.support.made_models import ROW, make_rows
from tests.support.server_process import ServerProcess


def ask(server: ServerProcess, **body) -> httpx.Response:
    return server.client.post("/explain", json=body)


@pytest.mark.parametrize("name", ["price", "choice", "count"])
def test_every_row_has_the_same_baseline_and_the_answer_names_method_and_reference(server: ServerProcess, name: str):
    body = ask(server, instances=make_rows(40), model=name).json()
    assert (body["method"], body["reference"]) == ("integrated", "training average")
    assert len({entry["baseline"] for entry in body["explanations"]}) == 1
    for entry in body["explanations"]:
        total = entry["baseline"] + sum(entry["contributions"].values())
        assert abs(total - entry["score"]) <= 1e-9 * max(1.0, abs(entry["score"]))
        assert abs(entry["remainder"]) <= 1e-3 * max(map(abs, entry["contributions"].values()))


def test_rows_of_the_request_can_be_the_reference(server: ServerProcess):
    body = ask(server, instances=[ROW], reference=[ROW]).json()
    (entry,) = body["explanations"]
    assert body["reference"] == "given rows"
    assert abs(entry["baseline"] - entry["score"]) <= 1e-12 * max(1.0, abs(entry["score"]))
    assert max(map(abs, entry["contributions"].values())) <= 1e-12


@pytest.mark.parametrize(
    ("body", "loc", "words"),
    [
        ({"reference": "approved"}, ["reference"], "must be one of 'training average'; got 'approved'"),
        ({"reference": [], "method": "integrated"}, ["reference"], "at least one row"),
        ({"reference": [{"age": "old"}]}, ["reference", 0, "age"], "must be a number or null"),
        ({"reference": [ROW], "method": "eigenvector"}, ["reference"], '"integrated" and "shapley_terms" take one'),
        ({"baseline": ROW}, ["baseline"], '"shapley" and "path" take one'),
    ],
)
def test_what_cannot_be_compared_with_is_refused(server: ServerProcess, body: dict, loc: list, words: str):
    answer = ask(server, instances=[ROW], **body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == loc
    assert words in error["msg"]


def test_a_table_takes_the_reference_from_the_query(server: ServerProcess):
    rows = make_rows(3)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROW))
    writer.writeheader()
    writer.writerows([{name: row.get(name) for name in ROW} for row in rows])
    sent = {"content": text.getvalue(), "headers": {"content-type": "text/csv"}}
    answer = server.client.post("/explain?reference=training+average", **sent)
    assert answer.status_code == 200
    columns = list(csv.DictReader(io.StringIO(answer.text)))
    assert len({line["baseline"] for line in columns}) == 1
    refused = server.client.post("/explain?reference=nobody", **sent)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["reference"])
