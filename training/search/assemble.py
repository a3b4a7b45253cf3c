"""Assemble trained members into the ensemble of a finished model, and prove what was asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.shapes import CertificateError, curved_certificate, monotone_certificate
from eigenserve.model.certificates.strengths import feature_strengths
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.predictor import Predictor
from eigenserve.training.additive.gram import matrix_shares
from eigenserve.training.curves.levels import interpolation
from eigenserve.training.kernels.layout import Float32, Rows
from eigenserve.training.search.members import LEAST_RISE, Blueprint
from eigenserve.training.settings import FitSettings


def build_ensemble(
    blueprint: Blueprint,
    members: Sequence[tuple[Float32, FloatArray]],
    member_weights: FloatArray,
    rows: Rows,
    scale: float = 1.0,
    shift: float = 0.0,
) -> SpectralEnsemble:
    """Build an ensemble that scores shift + scale * (the trained members' weighted mean).

    Every term is centred: its mean over ``rows`` moves to the constant matrix, which changes no eigenvalue
    and makes contributions relative to the average row. Curves that no member uses are left out, and the forms of one
    curve in several resolutions are added up on the finest, which holds all their knots: prediction pays for one.

    Args:
        blueprint: of all members.
        members: (params, offset) of each.
        member_weights: (G,), with sum 1.
        rows: the rows to centre on.
        scale, shift: of the target.
    """
    plan, n, outputs = blueprint.plan, blueprint.plan.dim, blueprint.plan.num_outputs
    tables, used = [], np.zeros(len(blueprint.bases), bool)
    for params, _ in members:
        matrices = np.asarray(params, np.float64).reshape(int(plan.param_offsets[-1]), outputs, -1)[:, :, : 2 * n - 1]
        moved = np.append(0, np.cumsum(matrices.any(axis=(1, 2))))
        used |= np.diff(moved[plan.param_offsets[:-1]]) > 0
        tables.append(scale * _expand(blueprint, matrices))
    table = np.stack(tables, axis=2)  # (R + 1, O, G, 2n - 1)
    table = table.reshape(len(table), outputs * len(members), 2 * n - 1)
    matrices, constant = table[:-1], table[-1].copy()
    shares = matrix_shares(rows.starts, rows.weights, len(matrices))
    for first, last in zip(plan.matrix_offsets[:-2], plan.matrix_offsets[1:-1], strict=True):
        mean = np.tensordot(shares[first:last], matrices[first:last], axes=1)
        matrices[first:last] -= mean
        constant += mean
    terms, curves, matrices = _one_form_each(blueprint, matrices, used)
    return SpectralEnsemble(
        pencil=TridiagonalPencil(
            terms=terms,
            curves=CurveSet(curves),
            constant_diag=constant[:, :n],
            constant_off_diag=constant[:, n:],
            diag=matrices[:, :, :n],
            off_diag=matrices[:, :, n:],
        ),
        eig_idx=plan.eig_idx,
        member_weights=member_weights,
        offset=shift + scale * (member_weights @ np.array([offset for _, offset in members])),
    )


def _one_form_each(
    blueprint: Blueprint, matrices: FloatArray, used: NDArray[np.bool_]
) -> tuple[tuple[Term, ...], tuple[Curve, ...], FloatArray]:
    """Leave out curves that are not used, add up the forms of a curve, and keep the terms of what is left."""
    offsets, base_of = blueprint.plan.matrix_offsets, blueprint.levels.base_of
    parts = [matrices[offsets[c] : offsets[c + 1]] for c in range(len(used))]
    if not used.any():
        used = base_of == np.arange(len(used))
    kept: list[int] = []
    for base in np.unique(base_of):
        forms = np.flatnonzero((base_of == base) & used)
        if len(forms) > 0:
            finest = int(forms[-1])
            for c in forms[:-1]:
                to_finest = interpolation(blueprint.bases[c], blueprint.bases[finest])
                parts[finest] = parts[finest] + np.tensordot(to_finest, parts[c], axes=1)
            kept.append(finest)
    curves = [blueprint.bases[c].curve for c in kept]
    numbers = sorted({curve.term for curve in curves})
    renumbered = {number: i for i, number in enumerate(numbers)}
    return (
        tuple(blueprint.terms[number] for number in numbers),
        tuple(replace(curve, term=renumbered[curve.term]) for curve in curves),
        np.concatenate([parts[c] for c in kept]),
    )


def _expand(blueprint: Blueprint, params: FloatArray) -> FloatArray:
    """Expand parameters (P, ...) into matrices (R + 1, ...) in float64."""
    at, parts = 0, []
    for basis in blueprint.bases:
        count = basis.num_params
        parts.append(basis.matrices(params[at : at + count], LEAST_RISE))
        at += count
    return np.concatenate([*parts, params[at:]])


def proved_of(settings: FitSettings, model: Predictor) -> dict[str, Any]:
    """Prove of the finished model what the settings ask of it.

    Raises:
        CertificateError: a proof failed.
    """
    proved: dict[str, Any] = {}
    if settings.monotone:
        proved["monotone"] = monotone_certificate(model, dict(settings.monotone))
    if settings.convex or settings.concave:
        shapes = dict.fromkeys(settings.convex, "convex") | dict.fromkeys(settings.concave, "concave")
        proved["curved"] = curved_certificate(model, shapes)
    if settings.max_strength:
        strengths = feature_strengths(model)
        for name, most in settings.max_strength:
            if strengths[name] > most:
                raise CertificateError(f"the strength of {name!r} is {strengths[name]:g}, not at most {most:g}")
        proved["max_strength"] = dict(settings.max_strength)
    return proved
