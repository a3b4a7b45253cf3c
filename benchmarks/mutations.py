"""Requests that are nearly right: good ones of every path and form, damaged in their bytes, their JSON or headers."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
BINARY = "application/octet-stream"
JSON_LENGTH = "Inference-Header-Content-Length"
#: Values that programs get wrong: ends of number types, texts with a meaning, names that objects have already.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**31), 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**40, 0.1, -0.0),
    *(1e308, -1e308, 5e-324, 1e-320, "", " ", "0", "NaN", "nan", "inf", "-Infinity", "null", "true", "None", "?"),
    *("\0", "\x7f", "é", "\u2028", "\U0001f600", "x" * 3000, "9" * 400, "1e400", "2026-02-30", "9999-12-31T24:00:00Z"),
    *("a & b", "../..", "%2e%2e%2f", "__proto__", "constructor", "{}", "[]", [], {}, [[]], [{}], {"": {}}, [None] * 50),
)
#: Pieces of JSON, CSV and HTTP that make sense elsewhere.
TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"NaN", b"-", b"e", b"1e999"),
    *(b"\n", b"\r\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b";", b"\t", b"''", b"=1+1", b"0x10", b"9" * 30),
    *(b"\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x1f\x8b", struct.pack("<I", 2**32 - 1), struct.pack("<q", -1)),
)
#: Headers that may come with any body.
HEADERS: tuple[Mapping[str, str], ...] = (
    {"Accept": "text/csv;q=nan, */*;q=2"},
    {"Accept": "application/vnd.apache.arrow.stream"},
    {"Accept": "image/png"},
    {"Accept": "," * 200},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "text/csv;charset"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": ARROW},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "br"},
    {JSON_LENGTH: "9" * 30},
    {JSON_LENGTH: "-1"},
    {"X-Request-ID": "x" * 500},
    {"traceparent": "00-zz"},
    {"Expect": "100-continue"},
)


@dataclass(frozen=True)
class Request:
    """A request by POST."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


def good_requests(name: str, card: Mapping[str, Any]) -> list[Request]:
    """Return requests of every form that a model answers, or refuses only for its kind, by its card."""
    row = {feature["name"]: feature["typical"] for feature in card["features"]}
    rows, features = [row, dict.fromkeys(row), list(row.values())], list(row)
    label = card["classes"][0] if card["classes"] else None
    wanted = {"class": label} if card["classes"] else {"above": 1}
    start: dict[str, Any] = {"model": name, "version": card["version"], "instances": rows}
    documents: list[tuple[str, dict[str, Any]]] = [
        ("/predict", start),
        ("/predict", {**start, "interval": 0.9}),
        *(("/explain", {**start, "method": method}) for method in ("integrated", "eigenvector", "path", "shapley")),
        ("/explain", {**start, "reference": rows, "groups": {"group": features[:2]}}),
        ("/explain", {**start, "method": "path", "baseline": row, "target": label}),
        ("/explain", {**start, "instances": [row], "include": ["certificate"], "radii": {features[0]: 0.5}}),
        ("/explain", {**start, "instances": [row], "include": ["curves"], "curves": [features[0], features[:2]]}),
        ("/explain", {**start, "instances": [row], "include": ["stability", "eigenvector", "interactions"]}),
        ("/reasons", {**start, "cutoff": 0.5, "adverse": "below", "n": 3, "reference": rows}),
        ("/counterfactuals", {**start, "instances": [row], "wanted": wanted, "fixed": features[:1], "max_features": 1}),
        ("/counterfactuals", {**start, "instances": [row], "wanted": wanted, "ranges": {features[0]: [0, 1]}}),
        (f"/v1/models/{name}:predict", {"signature_name": "x", "instances": rows}),
        (f"/v1/models/{name}:predict", {"inputs": {key: [[value]] for key, value in row.items()}}),
        (f"/v1/models/{name}:explain", {"instances": rows, "method": "integrated", "reference": [row]}),
        (f"/v2/models/{name}/infer", {"id": "7", **tensors(row)}),
        ("/v2/repository/index", {"ready": True}),
        ("/outcomes", {"model": name, "instances": rows[:1], "outcomes": [label if card["classes"] else 1]}),
        ("/outcomes", {"model": name, "outcomes": [{"request_id": "x", "row": 0, "outcome": 1}]}),
        ("/invocations", {"dataframe_split": {"columns": features, "data": [list(row.values())] * 2}}),
        ("/invocations", {"dataframe_records": rows[:2]}),
        ("/invocations", {"inputs": {key: [value] * 2 for key, value in row.items()}}),
    ]
    requests = [Request(path, json.dumps(document).encode()) for path, document in documents]
    table = ",".join(features) + "\n" + ",".join("" if value is None else str(value) for value in row.values()) + "\n"
    for path in ("/predict", "/explain"):
        requests.append(Request(f"{path}?model={name}", table.encode(), {"Content-Type": CSV, "Accept": JSON}))
        requests.append(Request(f"{path}?model={name}", table.encode("utf-16"), {"Content-Type": CSV}))
    requests.append(Request("/invocations", table.encode(), {"Content-Type": CSV}))
    requests.append(binary_request(name, row))
    return requests + list(arrow_requests(name, row))


def tensors(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the document of an Open Inference request."""
    kinds = {str: "BYTES", bool: "BOOL"}
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": kinds.get(type(value), "FP64"), "data": [value]}
            for name, value in row.items()
        ]
    }


def binary_request(name: str, row: Mapping[str, Any]) -> Request:
    """Return a row in the binary form of the Open Inference Protocol."""
    document, parts = tensors(row), []
    for tensor in document["inputs"]:
        value = tensor.pop("data")[0]
        text = str(value).encode()
        forms = {"BYTES": struct.pack("<I", len(text)) + text, "BOOL": bytes([bool(value)])}
        parts.append(forms.get(tensor["datatype"]) or struct.pack("<d", float("nan") if value is None else value))
        tensor["parameters"] = {"binary_data_size": len(parts[-1])}
    head = json.dumps({**document, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": BINARY, JSON_LENGTH: str(len(head))}
    return Request(f"/v2/models/{name}/infer", head + b"".join(parts), headers)


def arrow_requests(name: str, row: Mapping[str, Any]) -> Iterator[Request]:
    """Yield a row as Arrow streams, if pyarrow is installed."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        return
    table = pa.table({key: [value] * 3 for key, value in row.items()})
    for compression in (None, "zstd"):
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table)
        yield Request(f"/predict?model={name}", sink.getvalue(), {"Content-Type": ARROW})


def mutated(requests: list[Request], seed: int, number: int) -> Request:
    """Return the request of a number, the same for a seed whatever came before it."""
    rng = random.Random(f"{seed}/{number}")
    request = rng.choice(requests)
    body = request.body
    is_json = request.headers.get("Content-Type") == JSON
    if is_json and rng.random() < 0.6:
        document = json.loads(body)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            document = _changed(rng, document)
        body = json.dumps(document, ensure_ascii=rng.random() < 0.5, allow_nan=True).encode("utf-8", "surrogatepass")
    else:
        other = rng.choice(requests).body
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            body = _damaged(rng, body, other)
    headers = dict(request.headers)
    if rng.random() < 0.1:
        body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        body = _damaged(rng, body, body) if rng.random() < 0.5 else body
    if rng.random() < 0.1:
        headers |= rng.choice(HEADERS)
    return replace(request, body=body, headers=headers)


def _changed(rng: random.Random, document: Any) -> Any:
    """Return a document of which one value is another, is missing, is there twice, or stands in a list."""
    places = list(_places(document))
    if not places:
        return rng.choice(VALUES)
    owner, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind <= 2:
        owner[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 3:
        del owner[key]
    elif kind == 4:
        owner[key] = [copy.deepcopy(owner[key]) for _ in range(rng.choice((1, 2, 50)))]
    elif isinstance(owner, dict):
        owner[rng.choice((str(rng.choice(VALUES)), *owner))] = owner.pop(key)
    else:
        owner.insert(key, copy.deepcopy(rng.choice(owner)))
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a document: its object or list, and the key in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _damaged(rng: random.Random, body: bytes, other: bytes) -> bytes:
    """Return bytes with one bit, piece or end changed."""
    place = rng.randrange(len(body) + 1)
    end = min(len(body), place + rng.choice((1, 2, 4, 16, 200)))
    kind = rng.randrange(6)
    if kind == 0 and place < len(body):
        return body[:place] + bytes([body[place] ^ 1 << rng.randrange(8)]) + body[place + 1 :]
    if kind == 1:
        return body[:place] + body[end:]
    if kind == 2:
        return body[:place] + body[place:end] * rng.choice((2, 3, 100)) + body[end:]
    if kind == 3:
        return body[:place]
    if kind == 4:
        start = rng.randrange(len(other) + 1)
        return body[:place] + other[start : start + rng.choice((1, 8, 64, 1000))] + body[end:]
    return body[:place] + rng.choice(TOKENS) + body[rng.choice((place, end)) :]
