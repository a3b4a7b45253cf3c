"""Export a model as one ONNX file: raw features in, predictions and explanations out, in standard operators."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper

from eigenserve.model.explanations.groups import term_parts
from eigenserve.model.onnx.explanation import METHOD, explained
from eigenserve.model.onnx.graph import Graph, array_of
from eigenserve.model.onnx.inputs import OUTPUTS, ROWS, Categories, Columns, check_categories, columns_of, input_names
from eigenserve.model.onnx.scores import entries_of, probabilities_of, scores_of, spectrum, tables_of
from eigenserve.model.onnx.tensor import Tensor
from eigenserve.model.onnx.walk import walk
from eigenserve.model.spectral import SpectralModel

Precision = Literal["float64", "float32"]

#: The oldest opset whose operators are used: 16 brought nothing that is needed, 17 is what the runtimes of
#: 2022 and later read.
OLDEST_OPSET = 17
#: What a model's card may override.
DEFAULT_LICENSE = "The weights are the trainer's; the operators around them are Eigenserve's, Apache-2.0"


@dataclass(frozen=True)
class ExportSettings:
    """Say how to export.

    Attributes:
        explain: with explanations.
        precision: of the matrices and of what comes out; inputs are float64 always.
        opset: version of the ai.onnx operators.
        categories: "strings", or "codes" for a file without any operator outside ai.onnx.
    """

    explain: bool = False
    precision: Precision = "float64"
    opset: int = OLDEST_OPSET
    categories: Categories = "strings"

    def __post_init__(self) -> None:
        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= self.opset <= newest:
            raise ValueError(f"opset must be in [{OLDEST_OPSET}, {newest}]; got {self.opset}")
        for name, allowed in (("precision", ("float64", "float32")), ("categories", ("strings", "codes"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(allowed)}; got {getattr(self, name)!r}")


def to_onnx(model: SpectralModel, settings: ExportSettings | None = None) -> onnx.ModelProto:
    """Write the model as a graph; the same model and settings give the same graph.

    Raises:
        ValueError: a model that has no features, or whose missing values cannot be distinguished from a category.
    """
    settings = settings or ExportSettings()
    if not len(model.features):
        raise ValueError("a model without features cannot be exported: its graph would have no input")
    check_categories(model.features, settings.categories)
    inputs = input_names(model.features)
    graph = Graph(settings.opset, reserved=[*inputs, *OUTPUTS])
    columns = columns_of(graph, model.features, inputs, settings.categories)
    _write(graph, model, columns, settings)
    domains = [helper.make_opsetid(name, version) for name, version in sorted(graph.domains.items())]
    proto = helper.make_model(
        graph.proto(str(model.card.get("name", "model")), _describe(model)),
        opset_imports=domains,
        ir_version=helper.find_min_ir_version_for(domains),
        producer_name="Eigenserve",
        doc_string=_describe(model),
    )
    helper.set_model_props(proto, _metadata(model, settings, inputs))
    return proto


def to_bytes(proto: onnx.ModelProto) -> bytes:
    """Write the file's content; the same graph gives the same bytes."""
    return proto.SerializeToString(deterministic=True)


def _write(graph: Graph, model: SpectralModel, columns: Columns, settings: ExportSettings) -> None:
    pencil = model.ensemble.pencil
    stands = walk(columns.coordinates, pencil.curves)
    tables = tables_of(graph, model.ensemble, np.dtype(settings.precision))
    entries = entries_of(stands, tables)
    found = spectrum(entries, pencil.dim, model.ensemble.eig_idx, with_gap=settings.explain)
    scores = scores_of(found.value, graph.shape_of(stands.starts, 1), model.ensemble)

    def hand_out(name: str, value: Tensor, width: int, doc: str) -> None:
        if value.dtype.kind == "f":
            value = graph.where(columns.invalid, math.nan, value)
        graph.output(name, graph.transpose(value, 1, 0), [ROWS, width], doc)

    if model.classes:
        probabilities = probabilities_of(scores, model.link)
        labels = graph.gather(graph.constant(array_of(model.classes)), graph.arg("ArgMax", probabilities, 0))
        hand_out("label", labels, 1, "the most probable class")
        hand_out("probabilities", probabilities, len(model.classes), f"of {_listed(model.classes)}")
    else:
        value = graph.elementwise("Exp", scores) if model.link == "exp" else scores
        hand_out("prediction", value, 1, f"expected {model.target}")
    if settings.explain:
        parts = explained(model, columns, stands, tables, found, scores)
        terms = list(term_parts(pencil, model.groups))
        numeric = [feature.name for feature in model.features.features if feature.kind == "numeric"]
        hand_out("score", parts.score, 1, "baseline + the sum of the contributions")
        hand_out("baseline", parts.baseline, 1, "the score's constant part, seen through this row")
        hand_out("contributions", parts.contributions, len(terms), f"by the method {METHOD}, of {_listed(terms)}")
        hand_out("sensitivities", parts.sensitivities, len(numeric), f"d(score)/d of {_listed(numeric)}")
        hand_out("gap", parts.gap, 1, "distance to the nearest neighbouring eigenvalue")


def _metadata(model: SpectralModel, settings: ExportSettings, inputs: Sequence[str]) -> dict[str, str]:
    """Return what a reader of the file needs to know, as texts; lists and objects are JSON."""
    card, pencil = model.card, model.ensemble.pencil
    # A cycle of a date does not need an input: the graph computes it from the date's.
    features = [{"input": name, **asdict(feature)} for name, feature in zip_longest(inputs, model.features.features)]
    facts: dict[str, Any] = {
        "name": str(card.get("name", "")),
        "version": str(card.get("version", "")),
        "task": model.task,
        "target": model.target,
        "link": model.link,
        "precision": settings.precision,
        "category_inputs": settings.categories,
        "classes": list(model.classes),
        "features": features,
        "terms": list(term_parts(pencil, model.groups)),
        "groups": {name: [model.features.names[i] for i in positions] for name, positions in model.groups.items()},
        **({"method": METHOD} if settings.explain else {}),
        "sensitivities": [f.name for f in model.features.features if f.kind == "numeric"],
    }
    texts = {
        f"eigenserve.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in facts.items()
    }
    # The standard's own key for it.
    return {"model_license": str(card.get("license", DEFAULT_LICENSE)), **texts}


def _describe(model: SpectralModel) -> str:
    pencil, members = model.ensemble.pencil, len(model.ensemble.member_weights)
    return (
        f"Tridiagonal spectral model of {model.target} ({model.task}): eigenvalue {model.ensemble.eig_idx} "
        f"of {pencil.dim} x {pencil.dim} matrices, mean of {members}. One input per column, each (rows, 1)."
    )


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names))
