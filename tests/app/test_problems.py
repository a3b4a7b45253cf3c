"""Every bad request gets its status, says where and what, and costs the next request nothing."""

from __future__ import annotations

import socket

import pytest
from tests.support.made_models import ROW
from tests.support.server_process import ServerProcess

JSON = {"Content-Type": "application/json"}

#: name, body, status, what the message must say, loc of the first fault.
BAD_BODIES = [
    ("nothing", b"", 422, "empty document", ["body"]),
    ("cut off", b'{"instances": [', 422, "line 1 column", ["body"]),
    ("on line 2", b'{"instances":\n[[1,,2]]}', 422, "line 2 column", ["body"]),
    ("no JSON at all", b"age=31&rate=2", 422, "line 1 column 1", ["body"]),
    ("NaN", b'{"instances": [[NaN,1,true,"Rome",1]]}', 422, "column 17", ["body"]),
    ("Infinity", b'{"instances": [[Infinity,1,true,"Rome",1]]}', 422, "column 17", ["body"]),
    ("minus Infinity", b'{"instances": [[-Infinity,1,true,"Rome",1]]}', 422, "column", ["body"]),
    ("1e999", b'{"instances": [[1e999,1,true,"Rome",1]]}', 422, "infinity", ["body"]),
    ("no UTF-8", b'{"instances":\n ["\xc3\xa4\xff"]}', 422, "byte 19 is not: line 2 byte 6", ["body"]),
    ("half a surrogate", b'{"instances": [{"city": "\\ud800"}]}', 422, "surrogate", ["body"]),
    ("very deep", b'{"instances": ' + b"[" * 100_000, 422, "depth", ["body"]),
    ("ten megabytes of garbage", b"x" * 10_000_000, 422, "line 1 column 1", ["body"]),
    ("ten megabytes of brackets", b"[" * 10_000_000, 413, "when parsed", None),
    ("too large", b"[" * 12_582_913, 413, "at most 12582912 bytes", None),
    ("an array", b"[1]", 422, "must be an object", ["body"]),
    ("null", b"null", 422, "got null", ["body"]),
    ("no instances", b"{}", 422, "must be given", ["instances"]),
    ("null instances", b'{"instances": null}', 422, "must be a list of rows; got null", ["instances"]),
    ("one row, not a list", b'{"instances": {"age": 1}}', 422, "got an object", ["instances"]),
    ("empty instances", b'{"instances": []}', 422, "at least one row", ["instances"]),
    ("unknown key", b'{"instances": [[]], "rows": 1}', 422, "unknown key", ["rows"]),
    ("a row that is a number", b'{"instances": [1]}', 422, "be an object", ["instances", 0]),
    ("a row that is a text", b'{"instances": ["ab"]}', 422, "be an object", ["instances", 0]),
    ("a null row", b'{"instances": [{}, null]}', 422, "got null", ["instances", 1]),
    (
        "a text for a number",
        b'{"instances": [{"age": "old"}]}',
        422,
        "must be a number",
        ["instances", 0, "age"],
    ),
    (
        "true for a number",
        b'{"instances": [{"age": true}]}',
        422,
        "must be a number",
        ["instances", 0, "age"],
    ),
    (
        "a nested list",
        b'{"instances": [[[1],1,true,"Rome",1]]}',
        422,
        "must be a number",
        ["instances", 0, 0],
    ),
    ("a nested object", b'{"instances": [{"city": {"a": 1}}]}', 422, "text", ["instances", 0, "city"]),
    ("2 for a boolean", b'{"instances": [{"member": 2}]}', 422, "true", ["instances", 0, "member"]),
    (
        "unknown feature",
        b'{"instances": [{}, {"agee": 1}]}',
        422,
        "unknown feature",
        ["instances", 1, "agee"],
    ),
    ("too few values", b'{"instances": [[1, 2]]}', 422, "5 values; got 2", ["instances", 0]),
    ("too many values", b'{"instances": [[1,2,true,"x",5,6]]}', 422, "5 values; got 6", ["instances", 0]),
    ("too large an integer", b'{"instances": [{"age": 1%s}]}' % (b"0" * 400), 422, "infinity", ["body"]),
    ("too many rows", b'{"instances": [' + b"{}," * 5000 + b"{}]}", 413, "at most 5000 rows; got 5001", None),
    ("model is a number", b'{"instances": [{}], "model": 3}', 422, "text", ["model"]),
    ("unknown model", b'{"instances": [{}], "model": "x"}', 404, "choice, count, level, point, price", None),
    ("path for a model", b'{"instances": [{}], "model": "../../etc"}', 404, "no model", None),
    ("version is a list", b'{"instances": [{}], "version": [1]}', 422, "version", ["version"]),
    ("version is true", b'{"instances": [{}], "version": true}', 422, "version", ["version"]),
    ("unknown version", b'{"instances": [{}], "version": 9}', 404, "versions: 1, 2", None),
    ("version is a text", b'{"instances": [{}], "version": "one"}', 404, "versions: 1, 2", None),
]

#: The same, for what only /explain takes.
BAD_EXPLAIN_BODIES = [
    ("unknown method", b'{"instances": [{}], "method": "guess"}', 422, "eigenvector", ["method"]),
    ("method is a number", b'{"instances": [{}], "method": 1}', 422, "eigenvector", ["method"]),
    ("target of a regression", b'{"instances": [{}], "target": 1}', 422, "left out", ["target"]),
    ("unknown class", b'{"instances": [{}], "model": "level", "target": "x"}', 422, "low", ["target"]),
    ("true is not 1", b'{"instances": [{}], "model": "choice", "target": 1}', 422, "False", ["target"]),
    (
        "target is a list",
        b'{"instances": [{}], "model": "level", "target": [1]}',
        422,
        "an array",
        ["target"],
    ),
    ("include is a text", b'{"instances": [{}], "include": "x"}', 422, "list", ["include"]),
    ("unknown include", b'{"instances": [{}], "include": ["x"]}', 422, "include", ["include", 0]),
]


def check(server: ServerProcess, answer, status: int, says: str, loc: list | None):
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert says in str(problem["errors"] if loc else problem["detail"])
    if loc:
        assert problem["errors"][0]["loc"] == loc
    # The process answers the next request.
    assert server.client.post("/predict", json={"instances": [ROW]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "says", "loc"),
    [
        *((path, *case[1:]) for case in BAD_BODIES for path in ("/predict", "/explain")),
        *(("/explain", *case[1:]) for case in BAD_EXPLAIN_BODIES),
    ],
    ids=[
        *(f"{path}-{case[0]}" for case in BAD_BODIES for path in ("predict", "explain")),
        *(f"explain-{case[0]}" for case in BAD_EXPLAIN_BODIES),
    ],
)
def test_a_bad_body_is_refused_with_where_and_what(server: ServerProcess, path, body, status, says, loc):
    check(server, server.client.post(path, content=body, headers=JSON), status, says, loc)


def test_all_faults_of_a_body_are_named(server: ServerProcess):
    rows = [{"age": "x", "rate": []}, {"nope": 1}, ROW, [1]]
    problem = server.client.post("/predict", json={"instances": rows}).json()
    assert [tuple(fault["loc"]) for fault in problem["errors"]] == [
        ("instances", 0, "age"),
        ("instances", 0, "rate"),
        ("instances", 1, "nope"),
        ("instances", 3),
    ]
    assert "(and 3 more)" in problem["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "nonsense",
        "a/b;c",
    ],
)
def test_a_wrong_content_type_is_refused(server: ServerProcess, content_type):
    headers = {"Content-Type": content_type}
    check(server, server.client.post("/predict", content=b"{}", headers=headers), 415, "must be", None)


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; Charset=UTF-8"])
def test_json_is_taken_however_it_is_named(server: ServerProcess, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    answer = server.client.post("/predict", content=b'{"instances": [{}]}', headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd"])
def test_an_unknown_content_encoding_is_refused(server: ServerProcess, encoding):
    headers = {**JSON, "Content-Encoding": encoding}
    check(server, server.client.post("/predict", content=b"{}", headers=headers), 415, "gzip", None)


def test_a_chunked_body_beyond_the_limit_is_refused(server: ServerProcess):
    def pieces():
        for _ in range(13):
            yield b"[" * 2**20

    check(server, server.client.post("/predict", content=pieces(), headers=JSON), 413, "at most", None)


def test_a_client_that_waits_for_a_go_ahead_is_refused_at_once(server: ServerProcess):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/predict", 405, "POST"),
        ("PUT", "/explain", 405, "POST"),
        ("DELETE", "/models", 405, "GET HEAD"),
        ("POST", "/", 405, "GET HEAD"),
        ("GET", "/page/nothing.js", 404, ""),
        ("GET", "/page/..%2fmain.py", 404, ""),
        ("GET", "/nowhere", 404, ""),
        ("POST", "/predict/", 404, ""),
        ("GET", "/models/nope", 404, ""),
        ("GET", "/models/price/versions/7", 404, ""),
        ("GET", "/models/..%2f..%2fetc%2fpasswd", 404, ""),
        ("GET", "/docs/..%2f__init__.py", 404, ""),
    ],
)
def test_a_wrong_path_or_method_is_a_problem_too(server: ServerProcess, method, path, status, allow):
    answer = server.client.request(method, path)
    check(server, answer, status, "", None)
    # In whatever order: the framework keeps them as a set.
    assert set(answer.headers.get("Allow", "").replace(",", "").split()) == set(allow.split())


@pytest.mark.parametrize("instances", [False, 0, "", {}, [], {"age": 1}])
def test_outcomes_of_what_is_not_a_list_of_rows_are_refused(server: ServerProcess, instances: object):
    answer = server.client.post("/outcomes", json={"instances": instances, "outcomes": [1]})
    assert answer.status_code == 422, answer.text
