"""Large JSON bodies are read in slices: what comes out is what the parser makes of the whole, or the same refusal."""

from __future__ import annotations

import json
import math
import random
import re
import time
from typing import Any

import numpy as np
import orjson
import pytest

from eigenserve.app.problems import ProblemError
from eigenserve.app.wire import json_rows
from eigenserve.app.wire.json_rows import RowSlices, nan_to_null, parse_large

TEXTS = ["a", "", '"', "\\", '\\"', "{", "[[", ",,", '}{"instances": [', "é\u2028", "x" * 50, '\n\t\\\\"', "NaN"]


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return rng.choice([1, 2.5, -3e9, None, True])
    if kind < 6:
        return rng.choice(TEXTS)
    if kind < 8:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["instances", "a", '"', "\\", "b,c"]): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def whole(document: Any) -> Any:
    if isinstance(document, dict) and isinstance(document.get("instances"), RowSlices):
        slices = document["instances"]
        rows = [row for part in slices for row in part]
        assert len(rows) == len(slices)
        return {**document, "instances": rows}
    return document


@pytest.mark.parametrize("seed", range(8))
def test_slices_are_the_whole(monkeypatch: pytest.MonkeyPatch, seed: int):
    rng = random.Random(seed)
    monkeypatch.setattr(json_rows, "SLICED_BYTES", 10)
    sliced = 0
    for _ in range(250):
        monkeypatch.setattr(json_rows, "SLICE_BYTES", rng.choice([1, 5, 30, 200]))
        monkeypatch.setattr(json_rows, "SCAN_BYTES", rng.choice([1, 2, 3, 7, 50, 1000, 2**20]))
        keys = rng.sample(["model", "instances", "x", "include"], rng.randrange(1, 5))
        rows = [value(rng) for _ in range(rng.randrange(12))]
        document = {key: rows if key == "instances" else value(rng) for key in keys}
        body = orjson.dumps(document, option=rng.choice([0, orjson.OPT_INDENT_2]))
        parsed = parse_large(body)
        sliced += isinstance(parsed.get("instances"), RowSlices)
        assert whole(parsed) == document
        damaged = bytearray(body)
        for _ in range(rng.randrange(1, 3)):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.randrange(2)] = rng.choice(
                [b"", b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"1"]
            )
        try:
            expected: Any = orjson.loads(bytes(damaged))
        except ValueError:
            expected = ValueError
        try:
            received = whole(parse_large(bytes(damaged)))
        except ProblemError:
            received = ValueError
        assert received == expected, bytes(damaged)
    assert sliced > 50


@pytest.mark.parametrize("seed", range(4))
def test_nan_outside_of_texts_is_null(monkeypatch: pytest.MonkeyPatch, seed: int):
    rng = random.Random(seed)

    def with_nan(node: Any) -> Any:
        if isinstance(node, list):
            return [with_nan(item) for item in node]
        if isinstance(node, dict):
            return {key + rng.choice(["", "NaN"]): with_nan(item) for key, item in node.items()}
        return rng.choice([node, math.nan, "NaN", '"NaN"'])

    def with_null(node: Any) -> Any:
        if isinstance(node, list):
            return [with_null(item) for item in node]
        if isinstance(node, dict):
            return {key: with_null(item) for key, item in node.items()}
        return None if isinstance(node, float) and math.isnan(node) else node

    for _ in range(250):
        monkeypatch.setattr(json_rows, "SCAN_BYTES", rng.choice([1, 2, 3, 4, 5, 6, 7, 50]))
        document = with_nan(value(rng))
        body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode()
        assert orjson.loads(nan_to_null(body)) == with_null(document)


def test_a_fault_in_a_slice_is_named_by_its_line_in_the_body():
    rows = ",\n".join(['{"a": 1}'] * 50_000)
    body = f'{{"instances": [\n{rows},\n{{"a": oops}},\n{rows}]}}'.encode()
    document = parse_large(body)
    with pytest.raises(ProblemError) as raised:
        whole(document)
    line = body[: body.index(b"oops")].count(b"\n") + 1
    assert f"line {line} column" in raised.value.detail


def test_what_is_not_sliced_is_bounded():
    for body in (
        b'{"rows": [' + b"{}," * 2_000_000 + b"{}]}",
        b'{"instances": [1], "include": [' + b'"a",' * 2_000_000 + b'"a"]}',
        b'{"instances": [{"a": "' + b"x" * 2_000_000 + b'"}]}',
    ):
        with pytest.raises(ProblemError) as raised:
            whole(parse_large(body))
        assert raised.value.status == 413


@pytest.mark.parametrize("seed", range(20))
def test_escapes_within_texts_are_passed_over(seed: int):
    rng = random.Random(seed)
    text = bytes(rng.choices(b'\\\\\\"ax', k=rng.randrange(1, 200)))
    expected = re.sub(rb"\\.", b"xx", text, flags=re.DOTALL)
    if expected.count(b"\\"):  # a last backslash escapes what is not there
        expected = expected.replace(b"\\", b"x")
    assert json_rows._without_escapes(np.frombuffer(text, np.uint8)).tobytes() == expected


def test_lists_in_the_outermost_object_are_not_looked_at_one_by_one():
    body = b'{"x":' + b"[]," * 300_000 + b"1}"
    begun = time.process_time()
    assert json_rows._slice(body, "instances") is None
    assert time.process_time() - begun < 0.5
