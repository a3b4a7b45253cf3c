"""Bodies as they were sent: gzip of several members, and what may be decompressed."""

from __future__ import annotations

import gzip
import json

import pytest
from tests.support.made_models import make_rows
from tests.support.server_process import ServerProcess

from eigenserve.app.problems import ProblemError
from eigenserve.app.wire.bodies import inflate

MOST = 10**6
ONE = gzip.compress(b"a")


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("padding", [b"", bytes(512)])
def test_all_members_are_read(pieces: int, padding: bytes):
    content = b"0123456789" * 1000
    step = len(content) // pieces + 1
    members = b"".join(gzip.compress(content[i : i + step]) for i in range(0, len(content), step))
    assert inflate(members + padding, MOST) == content
    assert inflate(gzip.compress(b"") + members + gzip.compress(b""), MOST) == content


@pytest.mark.parametrize(
    "body",
    [b"", b"x", ONE[:-1], ONE + b"x", ONE + ONE[:9]],
    ids=["nothing", "no gzip", "cut off", "a byte more", "a header more"],
)
def test_what_is_cut_off_or_followed_by_something_else_is_refused(body: bytes):
    with pytest.raises(ProblemError) as raised:
        inflate(body, MOST)
    assert raised.value.status == 422


def test_the_limit_is_of_all_members_together():
    with pytest.raises(ProblemError) as raised:
        inflate(gzip.compress(bytes(MOST // 2 + 1)) * 2, MOST)
    assert raised.value.status == 413


@pytest.mark.parametrize("count", [7, 3000])  # on the event loop, and on a thread
def test_every_row_of_a_body_of_several_members_is_answered(server: ServerProcess, count: int):
    body = json.dumps({"instances": make_rows(count), "model": "price"}).encode()
    members = gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = server.client.post("/predict", content=members, headers=headers)
    assert len(answer.json()["predictions"]) == count
