"""Check a file against its model: run by onnxruntime, judged before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.checkpoints.files import TENSORS
from eigenserve.model.eigensolvers.tiles.gaps import RELATIVE_WIDTH
from eigenserve.model.explanations.eigenvector import explain_by_eigenvector
from eigenserve.model.explanations.groups import grouped
from eigenserve.model.matrices.tridiagonal import norm_bound
from eigenserve.model.onnx.export import ExportSettings, Precision, to_bytes, to_onnx
from eigenserve.model.onnx.inputs import MISSING_TEXT, input_names
from eigenserve.model.onnx.sturm import FORMATS
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

#: What is promised, relative to the size of the row's matrices (in which scores and contributions are sums
#: of terms that may cancel).
TOLERANCE: dict[Precision, float] = {"float64": 1e-9, "float32": 1e-4}
#: Where the terms of a row cancel nearly all of each other, their rounding is what is left. A few roundings of float32
#: are far below this share of what is promised of it.
CANCELLED = 0.01
#: The model gives gaps to this part of themselves (see ``model.eigensolvers.tiles.gaps``), the file to rounding.
GAP_SHARE = RELATIVE_WIDTH
#: An eigenvector is determined to the format's rounding times norm / gap, and so are contributions. Measured:
#: 0.3 of that for the squares of random vectors up to dim 512, 0.2 for the demo models; models may have more
#: curves than those.
ROUNDINGS: dict[Precision, float] = {"float64": 8 * 2.0**-52, "float32": 8 * 2.0**-23}
#: Enough to meet each category of small features and each knot interval of most; 0.1 s.
PROBES = 256
PROBE_SEED = 0
#: So many probes have a value beyond the training range, an unknown category or a missing value, each.
ODD_SHARE = 0.1


class OnnxError(Exception):
    """Report an export that must not be used; the message says what is wrong with it."""


def onnx_bytes(model: SpectralModel, settings: ExportSettings | None = None) -> bytes:
    """Write the model as the content of an ONNX file, checked; the same model and settings give the same bytes.

    Raises:
        ValueError: a model that cannot be exported so (see ``to_onnx``).
        OnnxError: a file that onnx finds faulty, or that does not give in onnxruntime what the model gives.
    """
    settings = settings or ExportSettings()
    proto = to_onnx(model, settings)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OnnxError(f"onnx finds the graph faulty: {error}") from error
    content = to_bytes(proto)
    check_agreement(model, content, settings)
    return content


def check_agreement(model: SpectralModel, content: bytes, settings: ExportSettings) -> None:
    """Compare file and model on rows of the training ranges and a little beyond.

    Raises:
        OnnxError: naming the output that differs, by how much, and how much is allowed.
    """
    columns = probe_columns(model.features)
    try:
        found = run(content, graph_inputs(model, columns, settings))
    except Exception as error:  # onnxruntime's exceptions do not share a base class
        raise OnnxError(f"onnxruntime cannot run the file: {error}") from error
    differences = compare(model, columns, found, settings)
    for name, ratio in differences.items():
        if not ratio <= 1.0:  # also refuses NaN
            raise OnnxError(
                f"output {name!r} must agree with the model; in onnxruntime it differs {ratio:.3g} times as "
                f"much as {settings.precision} allows"
            )


def run(content: bytes, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run the file on the CPU by onnxruntime; return its outputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings about constants in branches are none of the user's business
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def graph_inputs(model: SpectralModel, columns: FloatArray, settings: ExportSettings) -> dict[str, NDArray[Any]]:
    """Turn columns (N, F), as ``FeatureSpace.encode`` gives them, into the inputs of the graph."""
    names = input_names(model.features)
    inputs: dict[str, NDArray[Any]] = {}
    for j, (name, feature) in enumerate(zip(names, model.features.features, strict=False)):
        column = columns[:, j]
        if feature.kind == "categorical" and settings.categories == "strings":
            column = _texts(feature, column)
        inputs[name] = column[:, None]
    return inputs


def probe_columns(features: FeatureSpace) -> FloatArray:
    """Choose rows to compare on, (PROBES, F); the last one has every value missing."""
    rng = np.random.default_rng(PROBE_SEED)
    columns = np.empty((PROBES, len(features)))
    for j, feature in enumerate(features.features):
        if feature.kind in ("numeric", "datetime"):
            low, high, odd = feature.low, feature.high, ODD_SHARE * (feature.high - feature.low)
            columns[:, j] = rng.uniform(low - odd, high + odd, PROBES)
        elif feature.kind == "boolean":
            columns[:, j] = rng.integers(0, 2, PROBES)
        else:
            columns[:, j] = rng.integers(0, feature.num_codes, PROBES)
    columns[rng.random(columns.shape) < ODD_SHARE] = np.nan
    columns[-1] = np.nan
    columns[:, len(features.input_names) :] = np.nan
    features.fill_cycles(columns)
    return columns


def compare(
    model: SpectralModel, columns: FloatArray, found: dict[str, NDArray[Any]], settings: ExportSettings
) -> dict[str, float]:
    """Compare each output with the model; return its largest difference in units of what is allowed."""
    tolerance = TOLERANCE[settings.precision]
    norm = np.maximum(_norms(model, columns), FORMATS[np.dtype(settings.precision)].scale)
    scores = model.scores(columns)
    ratios: dict[str, FloatArray] = {}
    if model.classes:
        expected = model.probabilities(scores)
        # An error of a score is a relative error of a probability; below the format's least normal number
        # there are no digits to compare.
        least = float(np.finfo(settings.precision).tiny)
        allowed = tolerance * np.maximum(1.0, norm)[:, None] * np.maximum(expected, least)
        ratios["probabilities"] = np.abs(found["probabilities"] - expected) / allowed
        top = np.sort(expected, axis=1)
        clear = top[:, -1] - top[:, -2] > tolerance * np.maximum(1.0, norm)
        wrong = found["label"][:, 0] != np.array(model.labels(expected), dtype=found["label"].dtype)
        ratios["label"] = np.where(wrong & clear, np.inf, 0.0)
    else:
        expected = model.values(scores)
        relative = model.link == "exp"
        allowed = tolerance * (np.maximum(1.0, norm) * expected if relative else np.maximum(norm, np.abs(expected)))
        ratios["prediction"] = np.abs(found["prediction"][:, 0] - expected) / allowed
    if settings.explain:
        ratios.update(_compare_explanations(model, columns, found, norm, settings.precision))
    return {name: float(ratio.max(initial=0.0)) for name, ratio in ratios.items()}


def _compare_explanations(
    model: SpectralModel,
    columns: FloatArray,
    found: dict[str, NDArray[Any]],
    norm: FloatArray,
    precision: Precision,
) -> dict[str, FloatArray]:
    expected = grouped(explain_by_eigenvector(model, columns), model.groups)
    tolerance = TOLERANCE[precision]
    with np.errstate(divide="ignore"):
        vectors = np.maximum(tolerance, ROUNDINGS[precision] * norm / expected.gap)
    size = np.maximum(norm, np.abs(expected.score))
    ratios = {
        "score": np.abs(found["score"][:, 0] - expected.score) / (tolerance * size),
        "baseline": np.abs(found["baseline"][:, 0] - expected.baseline) / (vectors * size),
        "contributions": np.abs(found["contributions"] - expected.contributions) / (vectors * norm)[:, None],
    }
    finite = np.isfinite(expected.gap)
    allowed = np.maximum(tolerance * norm, GAP_SHARE * expected.gap)[finite]
    ratios["gap"] = np.abs(found["gap"][finite, 0] - expected.gap[finite]) / allowed
    slopes = expected.sensitivities
    steepest = np.max(np.abs(slopes), axis=0, initial=np.finfo(np.float32).tiny, where=~np.isnan(slopes))
    allowed = vectors[:, None] * steepest + _slope_roundings(model, columns, precision)
    differ = np.abs(found["sensitivities"] - slopes) / allowed
    both_missing = np.isnan(found["sensitivities"]) & np.isnan(slopes)
    ratios["sensitivities"] = np.where(both_missing, 0.0, differ)
    return ratios


def _slope_roundings(model: SpectralModel, columns: FloatArray, precision: Precision) -> FloatArray:
    """Bound (N, F') what sensitivities are off by, as differences of rounded matrices, or of their forms."""
    pencil, features = model.ensemble.pencil, model.features.features
    by_coordinate = np.zeros(len(features))
    for curve, first in zip(pencil.curves.curves, pencil.curves.offsets[:-1], strict=True):
        own = slice(first, first + curve.num_matrices)
        largest = float(norm_bound(pencil.diag[own], pencil.off_diag[own]).max())
        for i, weight in zip(curve.numeric, curve.direction, strict=True):
            by_coordinate[i] += abs(weight) * largest / curve.least_distance
    rounding = ROUNDINGS[precision] * by_coordinate
    numeric = [i for i, feature in enumerate(features) if feature.kind == "numeric"]
    slopes = [rounding[i] * features[i].coordinate_slope(columns[:, i]) for i in numeric]
    return np.array(slopes).reshape(len(numeric), len(columns)).T


def _norms(model: SpectralModel, columns: FloatArray) -> FloatArray:
    """Return the largest norm of a row's matrices, (N,), or the ``CANCELLED`` share of it without cancellation."""
    pencil = model.ensemble.pencil
    walk = pencil.curves.walk(model.features.coordinates(columns))
    found = np.zeros(len(columns))
    for share, summed in (
        (1.0, pencil),
        (CANCELLED, replace(pencil, **{name: np.abs(getattr(pencil, name)) for name in TENSORS})),
    ):
        diag, off_diag = (np.abs(part) for part in summed.matrices(walk))
        diag[..., 1:] += off_diag
        diag[..., :-1] += off_diag
        found = np.maximum(found, share * diag.max(axis=(1, 2)))
    return found


def _texts(feature: Feature, codes: FloatArray) -> NDArray[Any]:
    """Turn codes into texts, NaN into the text for a missing value."""
    unknown = "unknown"
    while unknown in feature.categories:
        unknown += "?"
    texts = [*feature.categories, unknown]
    return np.array([MISSING_TEXT if np.isnan(code) else texts[int(code)] for code in codes], object)
