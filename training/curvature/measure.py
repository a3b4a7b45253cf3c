"""Measure how flat the minimum is that training found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.operators import EigenResult, Spectrum, lanczos, spectrum
from eigenserve.model.operators.arguments import MAX_SEED, Which
from eigenserve.model.operators.spectral_hessian import SpectralHessian
from eigenserve.model.operators.spectral_loss import RowLoss, spectral_loss
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.exposure import per_unit
from eigenserve.training.evaluation.evaluate import deviance_power
from eigenserve.training.evaluation.labelled_rows import labelled_rows
from eigenserve.training.kernels.losses import (
    GAMMA,
    HUBER,
    LOGISTIC,
    MAX_LOG_RATE,
    QUANTILE,
    REGRESSION_LOSSES,
    SOFTMAX,
    SQUARED,
    TWEEDIE,
    choose_objective,
    standardised,
)
from eigenserve.training.progress import Reporter, Silent
from eigenserve.training.settings import FitSettings

#: Residuals wanted of eigenvalues, relative: two digits are enough to call a minimum flat or sharp, and the
#: error of a Ritz value goes with the residual's square.
TOLERANCE = 1e-3
#: Products that each end of the spectrum may take.
MAX_PRODUCTS = 300
#: Lanczos runs for trace and density, and their steps. Measured on California housing: the trace's standard
#: error is 2% of it.
PROBES, STEPS = 5, 30


@dataclass(frozen=True)
class Curvature:
    """Hold figures of the Hessian of a model's mean loss on a table, with respect to all entries of its matrices.

    The loss of numbers is that of the standardised target (its mean and deviation in the table), and the
    matrices are in that unit too, so the figures do not depend on the target's unit. The penalty of training
    is not part of it.

    Attributes:
        loss: the loss's name.
        rows, parameters: sizes of the table and of the Hessian.
        loss_value: the mean loss.
        gradient_norm: of the mean loss; far from zero, the model was stopped early or judged on other rows.
        top, bottom: largest and smallest eigenvalues, outermost first.
        spectrum: trace and density.
        smallest_gap: see ``SpectralHessian``.
    """

    loss: str
    rows: int
    parameters: int
    loss_value: float
    gradient_norm: float
    top: EigenResult
    bottom: EigenResult
    spectrum: Spectrum
    smallest_gap: float

    def document(self) -> dict[str, Any]:
        """Write the figures as JSON types, as ``curvature.json`` holds them."""
        return {
            "loss": self.loss,
            "rows": self.rows,
            "parameters": self.parameters,
            "loss_value": self.loss_value,
            "gradient_norm": self.gradient_norm,
            "top": _pairs(self.top),
            "bottom": _pairs(self.bottom),
            "trace": self.spectrum.trace,
            "trace_standard_error": self.spectrum.trace_error if np.isfinite(self.spectrum.trace_error) else None,
            "density": {"nodes": self.spectrum.nodes.tolist(), "weights": self.spectrum.weights.tolist()},
            "smallest_gap": self.smallest_gap if np.isfinite(self.smallest_gap) else None,
            "products": self.top.iterations + self.bottom.iterations + self.spectrum.iterations,
        }


def measure_curvature(
    model: SpectralModel,
    frame: pd.DataFrame,
    top: int = 5,
    *,
    probes: int = PROBES,
    seed: int = 0,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> Curvature:
    """Measure the ``top`` largest and smallest eigenvalues of the loss's Hessian on a table, its trace and density.

    Args:
        model: the trained model.
        frame: rows with the target's column.
        top: eigenvalues at each end.
        probes: random vectors for trace and density.
        seed: of all random vectors.
        device: where to compute, as torch names it.
        reporter: receives the progress.

    Raises:
        UserError: no target column, one that is none of this model, more eigenvalues than there are, or no
            such seed.
        InvalidRowsError: rows that are not rows of this model.
    """
    reporter = reporter or Silent()
    if not 0 <= seed < MAX_SEED:
        raise UserError(f"--seed must be in [0, {MAX_SEED - 1}]; got {seed}")
    rows = _rows(model, frame)
    target, shift, scale = rows.target, 0.0, 1.0
    if not model.classes:
        target, shift, scale = standardised(rows.target, rows.weight, model.link == "exp")
    name, row_loss = choose_loss(model)
    loss = spectral_loss(
        model.ensemble,
        model.features.coordinates(model.features.encode(rows.features)),
        target,
        row_loss,
        row_weights=rows.weight,
        shift=shift,
        scale=scale,
        device=device,
    )
    size = len(loss.parameters)
    if not 1 <= top <= size // 2:
        raise UserError(f"--top must be in [1, {size // 2}]: the model has {size} parameters; got {top}")
    hessian = SpectralHessian(loss)
    total = 2 * MAX_PRODUCTS + probes * STEPS

    def end(which: Which, before: int, text: str) -> EigenResult:
        def report(done: int, _: int, converged: int) -> None:
            reporter.advance(before + done, total, f"{text}: {converged} of {top}")

        return lanczos(hessian, top, min(MAX_PRODUCTS, 20 * size), TOLERANCE, which=which, seed=seed, progress=report)

    largest = end("LA", 0, "largest eigenvalues")
    smallest = end("SA", MAX_PRODUCTS, "smallest eigenvalues")

    def report(done: int, _: int, finished: int) -> None:
        reporter.advance(2 * MAX_PRODUCTS + done, total, f"density: {finished} of {probes} probes")

    # The pairs at the top carry most of the trace's variance; those at the bottom may be copies of zero.
    density = spectrum(hessian, probes, STEPS, seed + 1, known=largest, progress=report)
    reporter.advance(total, total, "done")
    value, slope = hessian.value_and_slope()
    return Curvature(
        loss=name,
        rows=loss.num_rows,
        parameters=size,
        loss_value=value,
        gradient_norm=float(torch.linalg.vector_norm(slope)),
        top=largest,
        bottom=smallest,
        spectrum=density,
        smallest_gap=hessian.smallest_gap,
    )


def choose_loss(model: SpectralModel) -> tuple[str, RowLoss]:
    """Choose the loss whose curvature is measured, with its name: the one the model was trained on.

    Losses without curvature (absolute, quantile) are replaced by Huber's.
    """
    settings = _settings(model)
    objective = choose_objective(model.task, settings["loss"], settings["quantile"], model.log_link, settings["power"])
    kind, parameter = objective.training
    if kind == SQUARED:
        return "squared", lambda scores, target: 0.5 * (scores[:, 0] - target) ** 2
    if kind in (HUBER, QUANTILE):
        return "huber", _huber(REGRESSION_LOSSES["huber"][1] if kind == QUANTILE else parameter)
    if kind == LOGISTIC:
        return "logistic", _logistic
    if kind in (GAMMA, TWEEDIE):
        return settings["loss"], _costs(parameter)
    return ("softmax", _softmax) if kind == SOFTMAX else ("poisson", _poisson)


def _settings(model: SpectralModel) -> dict[str, Any]:
    """Recover the settings that the model was trained with, as far as its card keeps them."""
    return {**asdict(FitSettings()), **model.card.get("training", {}).get("settings", {})}


@dataclass(frozen=True)
class _Rows:
    """Hold a table as training sees it: features, target and weight (N,)."""

    features: pd.DataFrame
    target: FloatArray
    weight: FloatArray


def _rows(model: SpectralModel, frame: pd.DataFrame) -> _Rows:
    """Select the rows with a target, weighted as in training, but for class weights."""
    settings = _settings(model)
    features, target = labelled_rows(model, frame)
    values, weight = target.values, np.ones(len(features))
    if model.link == "exp" and (values.min() < 0 or values.max() == 0):
        raise UserError(f"column {model.target!r} must be at least 0, and above 0 somewhere: its logarithm is scored")
    if settings["weight"] is not None:
        weight = _column(features, settings["weight"])
    power = deviance_power(model) or 1.0
    target, weight = per_unit(features, target, weight, settings["exposure"], settings["offset"], power)
    return _Rows(features[list(model.features.input_names)], target.values, weight)


def _column(features: pd.DataFrame, name: str) -> FloatArray:
    if name not in features:
        raise UserError(f"no column {name!r}, by which the model was trained; give it")
    values = pd.to_numeric(features[name], errors="coerce").to_numpy(np.float64)
    if not (values > 0).all() or not np.isfinite(values).all():
        raise UserError(f"column {name!r} must hold numbers above 0 only")
    return np.asarray(values)


def _huber(delta: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda scores, target: functional.huber_loss(scores[:, 0], target, reduction="none", delta=delta)


def _logistic(scores: Tensor, target: Tensor) -> Tensor:
    return functional.softplus(scores[:, 0]) - target * scores[:, 0]


def _softmax(scores: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(scores, target.long(), reduction="none")


def _poisson(scores: Tensor, target: Tensor) -> Tensor:
    rate = torch.exp(scores[:, 0].clamp(max=MAX_LOG_RATE))
    return rate - target * (1.0 + scores[:, 0]) + torch.xlogy(target, target)


def _costs(power: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return half of Tweedie's deviance of a power in (1, 2], up to what does not depend on the score."""

    def loss(scores: Tensor, target: Tensor) -> Tensor:
        held = scores[:, 0].clamp(-MAX_LOG_RATE, MAX_LOG_RATE)
        rising = held if power == 2.0 else torch.exp((2.0 - power) * held) / (2.0 - power)
        return rising + target * torch.exp((1.0 - power) * held) / (power - 1.0)

    return loss


def _pairs(result: EigenResult) -> dict[str, Any]:
    return {
        "eigenvalues": result.eigenvalues.tolist(),
        "residuals": result.residuals.tolist(),
        "converged": result.converged.tolist(),
        "products": result.iterations,
    }
