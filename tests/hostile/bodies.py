"""Bodies that cost a server far more than their client: each decoder, protocol and count, plain and compressed."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.made_models import ROW

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
#: Below the limit of a body, 32 MiB: what a decompressed one may have.
FULL = 31 * 2**20
INFER = "/v2/models/price/infer"
#: As many and as long as a request may keep.
LONG_NAMES = [f"{i:0200}" for i in range(100)]
#: A row that is warned of by every feature.
OUTSIDE = {"age": 1000, "income": 1e9, "member": True, "city": "z", "rate": 1e3}


@dataclass(frozen=True)
class Attack:
    """One request, sent again and again."""

    name: str
    path: str
    body: bytes
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def filled(unit: str, start: str = '{"model": "price", "instances": [', end: str = "]}") -> bytes:
    """A JSON text of nearly the limit, of one repeated element."""
    count = (FULL - len(start) - len(end)) // len(unit)
    return (start + (unit * count).rstrip(",") + end).encode()


def packed(body: bytes) -> bytes:
    return gzip.compress(body, 1)


def json_attacks() -> Iterator[Attack]:
    """JSON of every path, compressed where it is long."""
    for name, path, body in json_bodies():
        compressed = len(body) > 2**20
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        yield Attack(name, path, packed(body) if compressed else body, JSON, headers)


def csv_attacks() -> Iterator[Attack]:
    """CSV, compressed."""
    for name, body in csv_bodies():
        yield Attack(name, "/predict?model=price", packed(body), CSV, {"Content-Encoding": "gzip"})


def gzip_attacks() -> Iterator[Attack]:
    """What is wrong with the compression itself."""
    gz = {"Content-Encoding": "gzip"}
    yield Attack("gzip of zeros", "/predict", packed(bytes(2**28)), JSON, gz)
    yield Attack("gzip of many members", "/predict", packed(b"") * 200_000, JSON, gz)
    yield Attack("gzip cut off", "/predict", packed(filled("{},"))[:-9], JSON, gz)


def json_bodies() -> Iterator[tuple[str, str, bytes]]:
    one = json.dumps({"instances": [ROW], "model": "price"})[:-1]
    for path in ("/predict", "/explain"):
        short = path[1:]
        yield f"{short} 1300 empty rows", path, b'{"model": "price", "instances": [' + b",".join([b"{}"] * 1300) + b"]}"
        yield f"{short} empty rows", path, filled("{},")
    rows = ",".join(["{}"] * 100_000)
    yield "explain as many rows as allowed", "/explain", f'{{"model": "price", "instances": [{rows}]}}'.encode()
    yield "empty lists", "/predict", filled("[],")
    yield "objects in objects", "/predict", filled('{"":{}},')
    yield "numbers for rows", "/predict", filled("0,")
    yield "texts for rows", "/predict", filled('"é",')
    yield "one long text", "/predict", filled("x", '{"model": "price", "instances": [{"age": "', '"}]}')
    yield "one long key", "/predict", filled("x", '{"model": "price", "instances": [{"', '": 1}]}')
    yield "unknown features in one row", "/predict", row_of_keys()
    yield "unknown keys", "/predict", f"{one}, {numbered('1', 1_000_000)}}}".encode()
    yield "rows of strangers", "/predict", filled('{"a":1},')
    for path, names in (("/predict", ["x" * 10_000]), ("/explain", ["x" * 10_000]), ("/predict", LONG_NAMES)):
        body = f'{{"model": "price", "instances": [{rows}], "keep": {json.dumps(names)}}}'.encode()
        yield f"{path} keeps {len(names)} long names", path, body
    out = json.dumps(OUTSIDE)
    needless = f'{{"model": "price", "cutoff": 1e9, "instances": [{",".join([out] * 100_000)}]}}'
    yield "reasons that nobody needs", "/reasons", needless.encode()
    needless = f'{{"model": "price", "wanted": {{"above": -1e9}}, "instances": [{",".join([out] * 5000)}]}}'
    yield "counterfactuals that nobody needs", "/counterfactuals", needless.encode()
    yield "brackets", "/predict", filled("[", "", "")
    yield "rows under another key", "/predict", filled("{},", one + ', "rows": [', "]}")
    for key, items in (("include", "7,"), ("curves", '"age",'), ("radii", ""), ("baseline", "{},"), ("target", "[],")):
        body = filled(items, f'{one}, "include": ["curves"], "{key}": [', "]}") if items else radii(one)
        yield f"explain {key}", "/explain", body
    pair = json.dumps(["age", "city"])
    yield (
        "one pair of curves again and again",
        "/explain",
        (f'{one}, "include": ["curves"], "curves": [{",".join([pair] * 2000)}]}}').encode(),
    )
    yield (
        "counterfactuals fixed",
        "/counterfactuals",
        filled('"age",', one + ', "wanted": {"above": 1}, "fixed": [', "]}"),
    )
    yield (
        "counterfactuals ranges",
        "/counterfactuals",
        (one + ', "wanted": {"above": 1}, "ranges": {' + ",".join(f'"{i}": 1' for i in range(500_000)) + "}}").encode(),
    )
    for path in ("/v1/models/price:predict", "/v1/models/price:explain"):
        yield f"{path} empty rows", path, filled("{},")
    yield "v1 columns", "/v1/models/price:predict", filled("[0],", '{"inputs": {"age": [', "]}}")
    yield "invocations NaN", "/invocations", filled("NaN,", '{"inputs": {"age": [', "]}}")
    yield "invocations records of NaN", "/invocations", filled('{"age": NaN},', '{"dataframe_records": [')
    yield (
        "invocations split",
        "/invocations",
        filled("[1,2],", '{"dataframe_split": {"columns": ["a", "b"], "data": [', "]}}"),
    )
    yield (
        "invocations many columns",
        "/invocations",
        (
            '{"dataframe_split": {"data": [], "columns": [' + ",".join(f'"{i}"' for i in range(2_000_000)) + "]}}"
        ).encode(),
    )
    yield "infer many dimensions", INFER, infer(shape=[2**31 - 1] * 4000)
    yield "infer a million dimensions", INFER, infer(shape=[1] * 1_000_000)
    yield "infer long numbers", INFER, infer(shape=[2**31 - 1] * 8)
    yield (
        "infer nested data",
        INFER,
        infer(data="@").replace(b'"@"', b"[" * 500 + b"[1]," * 2_000_000 + b"[1]" + b"]" * 500),
    )
    yield (
        "infer flat data",
        INFER,
        infer(data="@", shape=[15_000_000]).replace(b'"@"', b"[" + b"0," * 14_999_999 + b"0]"),
    )
    yield (
        "infer many tensors",
        INFER,
        filled('{"name":"age","shape":[1],"datatype":"FP64","data":[1]},', '{"inputs": ['),
    )
    yield "infer many outputs", INFER, filled("{},", infer()[:-1].decode() + ', "outputs": [', "]}")
    yield "infer without tensors", INFER, filled("0,", '{"inputs": [')


def radii(one: str) -> bytes:
    return f'{one}, "include": ["certificate"], "radii": {{{numbered("-1", 1_000_000)}}}}}'.encode()


def numbered(value: str, count: int) -> str:
    return ",".join([f'"{i}": {value}' for i in range(count)])


def row_of_keys() -> bytes:
    return f'{{"model": "price", "instances": [{{{numbered("1", 1_000_000)}}}]}}'.encode()


def infer(shape: Any = (1,), data: Any = (1,), datatype: str = "FP64") -> bytes:
    tensor = {"name": "age", "shape": shape, "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def csv_bodies() -> Iterator[tuple[str, bytes]]:
    header = b"age,income,member,city,rate\n"
    yield "csv newlines", b"\n" * FULL
    yield "csv carriage returns", header + b"\r" * (FULL - 100)
    yield "csv commas", b"," * FULL
    yield "csv commas behind a header", header + b"," * (FULL - 100)
    yield "csv rows of one comma", b"a,b\n" + b",\n" * (FULL // 2 - 10)
    yield "csv quotes", header + b'"' * (FULL - 100)
    yield "csv fields over lines", header + b'"\n",' * (FULL // 4 - 100)
    yield "csv a long cell", header + b"1" * (FULL - 100)
    yield "csv other columns", b",".join(b"%d" % i for i in range(90_000)) + b"\n" + (b"," * 89_999 + b"\n") * 300
    yield "csv texts for numbers", header + b"x,y,z,u,v\n" * 3_000_000


def arrow_attacks() -> Iterator[Attack]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.ipc

    def stream(columns: dict[str, Any], compression: str | None = None) -> bytes:
        table = pa.table(columns)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def runs(length: int, value: Any) -> Any:
        return pa.RunEndEncodedArray.from_arrays(pa.array([length], pa.int32()), pa.array([value]))

    zeros = pa.array(np.zeros(100_000, np.int32))
    long = "x" * 300_000
    bodies = {
        "arrow nulls": stream({"age": pa.nulls(30_000_000)}),
        "arrow nulls within the rows": stream({f"c{i}": pa.nulls(100_000) for i in range(3000)}),
        "arrow runs": stream({"age": runs(30_000_000, 1.0)}),
        "arrow runs of text": stream({"city": runs(100_000, long)}),
        "arrow dictionary of text": stream({"city": pa.DictionaryArray.from_arrays(zeros, pa.array([long]))}),
        "arrow views of text": stream({"city": pa.array([long] * 1000, pa.string_view())}),
        "arrow zstd": stream({"age": np.zeros(40_000_000)}, "zstd"),
        "arrow lz4": stream({"age": np.zeros(9_000_000)}, "lz4"),
        "arrow zstd texts": stream({"city": ["x" * 2000] * 90_000}, "zstd"),
        "arrow many columns": stream({f"c{i}": [1.0] for i in range(30_000)}),
        "arrow lists": stream({"age": pa.array([[0.0] * 1000] * 1000)}, "zstd"),
        "arrow batches": many_batches(pa),
    }
    for name, body in bodies.items():
        gz = len(body) > 2**20
        yield Attack(
            name,
            "/predict?model=price",
            packed(body) if gz else body,
            ARROW,
            {"Content-Encoding": "gzip"} if gz else {},
        )


def many_batches(pa: Any) -> bytes:
    sink, schema = io.BytesIO(), pa.schema([("age", pa.float64())])
    batch = pa.record_batch({"age": pa.array([], pa.float64())}, schema)
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(50_000):
            writer.write_batch(batch)
    return sink.getvalue()


def binary_attacks() -> Iterator[Attack]:
    """The binary form of the Open Inference Protocol: lengths that lie."""

    def binary(size: Any, data: bytes, datatype: str = "BYTES", count: int = 1) -> tuple[bytes, dict[str, str]]:
        parameters = {"binary_data_size": size}
        tensor = {"name": "city", "shape": [count], "datatype": datatype, "parameters": parameters}
        head = json.dumps({"inputs": [tensor]}).encode()
        return head + data, {"Inference-Header-Content-Length": str(len(head))}

    for name, arguments in {
        "binary a long length": (4, struct.pack("<I", 2**32 - 1)),
        "binary more texts than bytes": (4, struct.pack("<I", 0), "BYTES", 2**31 - 1),
        "binary a size beyond the body": (2**62, b"", "FP64", 2),
        "binary empty texts": (4 * 1_000_000, bytes(4 * 1_000_000), "BYTES", 1_000_000),
    }.items():
        body, headers = binary(*arguments)
        yield Attack(name, INFER, body, "application/octet-stream", headers)
    yield tensors("binary warnings of every row", 100_000)
    yield tensors("binary warnings, and 50 tensors that are kept", 50_000, 50)
    text = b"\1" * 30_000_000
    yield tensors("binary a long text of control characters", 1, text=struct.pack("<I", len(text)) + text)
    body, _ = binary(1, b"x")
    headers = {"Inference-Header-Content-Length": "9" * 5000}
    yield Attack("binary a header of 5,000 digits", INFER, body, "application/octet-stream", headers)


def tensors(name: str, count: int, kept: int = 0, text: bytes = b"") -> Attack:
    """Rows beyond everything that training had, and tensors that are handed through."""
    keep = {f"k{i}": ("FP16", b"\x34\x12" * count) for i in range(kept)} | ({"id": ("BYTES", text)} if text else {})
    numbers = {key: ("FP32", struct.pack("<f", OUTSIDE[key]) * count) for key in ("age", "income", "rate")}
    member, city = ("BOOL", b"\1" * count), ("BYTES", b"\1\0\0\0z" * count)
    parts = {**numbers, "member": member, "city": city, **keep}
    inputs = [
        {"name": key, "datatype": datatype, "shape": [count], "parameters": {"binary_data_size": len(data)}}
        for key, (datatype, data) in parts.items()
    ]
    head = json.dumps({"parameters": {"keep": list(keep)}, "inputs": inputs}).encode()
    body = packed(head + b"".join(data for _, data in parts.values()))
    headers = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(head))}
    return Attack(name, INFER, body, "application/octet-stream", headers)


GROUPS = {
    "json": json_attacks,
    "csv": csv_attacks,
    "arrow": arrow_attacks,
    "binary": binary_attacks,
    "gzip": gzip_attacks,
}
