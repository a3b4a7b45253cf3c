"""Explain exactly in a graph: ``model.explanations.eigenvector`` with its default method and target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenserve.model.explanations.groups import part_sums, term_parts
from eigenserve.model.onnx.eigenvector import eigenvector
from eigenserve.model.onnx.inputs import Columns, coordinate_slopes
from eigenserve.model.onnx.scores import Spectrum, Tables
from eigenserve.model.onnx.tensor import Tensor
from eigenserve.model.onnx.walk import Walk
from eigenserve.model.spectral import SpectralModel

#: The method of ``explain`` whose contributions a file gives.
METHOD = "eigenvector"


@dataclass(frozen=True)
class ExplanationTensors:
    """Hold an ``Explanation``, rows last: (1, N), but contributions (P, N), sensitivities (F', N).

    The P parts are the terms, those of each group that the model keeps together.
    """

    score: Tensor
    baseline: Tensor
    contributions: Tensor
    sensitivities: Tensor
    gap: Tensor


def explained(
    model: SpectralModel, columns: Columns, walk: Walk, tables: Tables, found: Spectrum, scores: Tensor
) -> ExplanationTensors:
    """Take the scores of the predicted classes apart (of two classes, always that of the second)."""
    graph, ensemble = scores.graph, model.ensemble
    dtype, (outputs, entries, members) = scores.dtype, tables.shape
    rows = graph.shape_of(walk.starts, 1)
    forms = _forms(found, model, tables, rows)
    chosen = graph.arg("ArgMax", scores, 0)  # (1, N)
    offset = graph.constant(ensemble.offset, dtype)
    constant = graph.reshape(tables.constant, outputs, 1, entries * members)
    constants = graph.reshape_to(graph.matmul(constant, forms), graph.shape(outputs, rows))
    curves = graph.reshape(tables.curves, tables.num_curves, outputs, entries * members)
    per_matrix = graph.matmul(graph.transpose(curves, 1, 0, 2), forms)
    per_matrix = graph.reshape_to(per_matrix, graph.shape(outputs * tables.num_curves, rows))
    # v'Mv of the matrices that a row stands between, of the chosen output alone.
    first = chosen * tables.num_curves
    start, end = (graph.gather_elements(per_matrix, first + at) for at in (walk.starts, walk.ends))
    steps = end - start
    values = start + steps * graph.cast(walk.weights, dtype)
    assert found.gap is not None
    gaps = graph.reshape_to(found.gap, graph.shape(outputs * members, rows))
    return ExplanationTensors(
        score=graph.gather_elements(scores, chosen),
        baseline=graph.gather_elements(constants, chosen) + graph.gather(offset, chosen),
        contributions=graph.matmul(graph.constant(_parts(model), dtype), values),
        sensitivities=_sensitivities(model, columns, walk, steps),
        gap=graph.reduce("ReduceMin", gaps, [0]),
    )


def _forms(found: Spectrum, model: SpectralModel, tables: Tables, rows: Tensor) -> Tensor:
    """Return d(score)/dT, (O, (2n - 1) * G, N), by which v'Mv is a sum over the entries of M."""
    graph, dim = found.value.graph, model.ensemble.pencil.dim
    outputs, entries, members = tables.shape
    if found.matrices is None:
        forms = found.value * 0.0 + 1.0
    else:
        v = eigenvector(found.matrices.diag, found.matrices.off_diag, found.shift, dim)
        products = graph.rows(v, 0, dim - 1) * graph.rows(v, 1, dim)
        forms = graph.concat([v * v, products + products], 0)
    forms = graph.reshape_to(forms, graph.shape(entries, outputs, members, rows))
    forms = forms * model.ensemble.member_weights.reshape(-1, 1)
    if outputs > 1:
        forms = graph.transpose(forms, 1, 0, 2, 3)
    return graph.reshape_to(forms, graph.shape(outputs, entries * members, rows))


def _parts(model: SpectralModel) -> np.ndarray:
    """Return which curves make up each part, (P, C)."""
    pencil = model.ensemble.pencil
    sums = part_sums(term_parts(pencil, model.groups))
    return sums[pencil.curves.term].T


def _sensitivities(model: SpectralModel, columns: Columns, walk: Walk, steps: Tensor) -> Tensor:
    """Apply the chain rule from raw units to coordinates to places on the curves, (F', N)."""
    graph, curves = steps.graph, model.ensemble.pencil.curves
    numeric = [i for i, feature in enumerate(model.features.features) if feature.kind == "numeric"]
    directions = np.zeros((len(numeric), len(curves.curves)))
    for c, curve in enumerate(curves.curves):
        for feature, weight in zip(curve.numeric, curve.direction, strict=True):
            if feature in numeric:
                directions[numeric.index(feature), c] = weight
    by_coordinate = graph.matmul(graph.constant(directions, steps.dtype), steps * graph.cast(walk.slopes, steps.dtype))
    return by_coordinate * graph.cast(coordinate_slopes(columns, model.features), steps.dtype)
