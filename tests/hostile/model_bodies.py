"""Bodies that cost a server much by what they ask of a model: comparisons, groups, curves, and a thousand features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.hostile.bodies import CSV, JSON, Attack, filled, packed
from tests.support.made_models import ROW

WIDE = 1000
PARTS = ["certificate", "stability", "eigenvector", "curves", "interactions"]
EMPTY = [{} for _ in range(1200)]


def explanation_attacks() -> Iterator[Attack]:
    """What explanations, reasons and counterfactuals compare with, group and draw."""
    start = json.dumps({"instances": [ROW], "model": "price"})[:-1]
    pairs = [[a, b] for a in ROW for b in ROW if a != b]
    rows = [ROW] * 2000
    yield one("a reference of 1200 empty rows", "/explain", reference=EMPTY)
    yield Attack("a reference of a million rows", "/explain", *gzipped(filled("{},", start + ', "reference": [')))
    yield one("v1, a reference of a million rows", "/v1/models/price:explain", reference=[{}] * 1_300_000)
    yield one("a sample of 1200 rows", "/explain", method="path", baseline=EMPTY)
    yield one("shapley against 100 rows", "/explain", rows, method="shapley", baseline=[{}] * 100)
    yield one("a group of a million names", "/explain", groups={"g": ["age"] * 600_000})
    yield one("ten thousand groups", "/explain", groups={f"g{i}": ["x"] for i in range(10_000)})
    yield one("surfaces of many rows", "/explain", rows, include=["curves"], curves=pairs)
    yield one("every part of many rows", "/explain", rows, include=PARTS)
    yield Attack(
        "reasons, empty rows", "/reasons", *gzipped(filled("{},", '{"model":"price","cutoff":1,"instances":['))
    )
    yield one("reasons, many rows", "/reasons", rows, cutoff=1)
    yield one("reasons, a reference of 1200 empty rows", "/reasons", cutoff=1, reference=EMPTY)
    yield one("reasons, as many as there are atoms", "/reasons", cutoff=1, n=10**80)
    yield one("counterfactuals of many rows", "/counterfactuals", rows, wanted={"above": 1})
    yield one("counterfactuals, unknown features", "/counterfactuals", wanted={"above": 1}, fixed=["x"] * 10_000)
    yield Attack("v1 inputs of rows", "/v1/models/price:predict", *gzipped(filled("{},", '{"inputs": [')))
    yield Attack(
        "v1 inputs of empty lists", "/v1/models/price:predict", *gzipped(filled("[],", '{"inputs": {"age": [', "]}}"))
    )
    yield one("v1, many options", "/v1/models/price:predict", **{f"x{i}": 1 for i in range(300_000)})


def wide_attacks() -> Iterator[Attack]:
    """A model of a thousand features, which an error, a row and an explanation may name or take all of."""
    row, unknown = [4e-9] * WIDE, [f"x{i}" for i in range(10_000)]
    wanted = {"above": 1000}
    for count in (100_000, 8000, 1200):
        yield wide(f"{count} empty rows", "/predict", [{}] * count)
    yield wide("unknown features", "/predict", [{"a": 1}] * 100_000)
    yield wide("columns that are missing", "/v1/models/wide:predict", None, inputs={"a": [1]})
    yield wide("explain empty rows", "/explain", [{}] * 8000)
    yield wide("a reference of empty rows", "/explain", reference=EMPTY)
    yield wide("a reference of as many as allowed", "/explain", reference=[{}] * 10_000)
    yield wide("radii", "/explain", include=["certificate"], radii=dict.fromkeys(unknown, 1))
    yield wide("fixed", "/counterfactuals", wanted=wanted, fixed=unknown)
    yield wide("ranges", "/counterfactuals", wanted=wanted, ranges={name: [0, 1] for name in unknown})
    for part in PARTS:
        yield wide(part, "/explain", [row, row], include=[part])
    yield wide("shapley", "/explain", [row, row], method="shapley")
    yield wide("path", "/explain", [row, row], method="path")
    yield wide("counterfactuals", "/counterfactuals", [row] * 4, wanted=wanted)
    tensor = '{"name":"f0","shape":[1],"datatype":"FP64","data":[1]},'
    yield Attack("wide, many tensors", "/v2/models/wide/infer", *gzipped(filled(tensor, '{"inputs": [')))
    yield Attack("wide, csv of one column", "/predict?model=wide", b"f0\n" + b"1\n" * 100_000, CSV)


def drift_attacks() -> Iterator[Attack]:
    """Outcomes and promotions of more than there can be."""
    for unit in ("{},", "0,", '{"request_id":"x","outcome":1},'):
        yield Attack(f"outcomes of {unit}", "/outcomes", *gzipped(filled(unit, '{"outcomes": [')))
    start = '{"model": "price", "outcomes": [1], "instances": ['
    yield Attack("outcomes of many rows", "/outcomes", *gzipped(filled("{},", start)))
    yield one("outcomes of as many as allowed", "/outcomes", [{}] * 100_000, outcomes=[1] * 100_000)
    yield Attack("promote by a long body", "/models/price/promote", *gzipped(filled("{},", '{"version": [')))


def one(name: str, path: str, rows: Any = (ROW,), **keys: Any) -> Attack:
    """A request for the model price."""
    document = {"model": "price", "instances": rows, **keys}
    return Attack(name, path, *gzipped(json.dumps(document).encode()))


def wide(name: str, path: str, rows: Any = ({},), **keys: Any) -> Attack:
    """A request for the wide model."""
    document = {"model": "wide", **({} if rows is None else {"instances": rows}), **keys}
    return Attack(f"wide, {name}", path, *gzipped(json.dumps(document).encode()))


def gzipped(body: bytes) -> tuple[bytes, str, dict[str, str]]:
    """A body, compressed if it is long, with its media type and encoding."""
    if len(body) < 2**20:
        return body, JSON, {}
    return packed(body), JSON, {"Content-Encoding": "gzip"}


MODEL_GROUPS = {"drift": drift_attacks, "explanations": explanation_attacks, "wide": wide_attacks}
