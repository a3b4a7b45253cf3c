"""Compute the members' matrices, eigenvalues and eigenvectors, of which a row's score is the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers import eigh_tridiagonal
from eigenserve.model.predictor import Output, Predictor


@dataclass(frozen=True)
class MemberEigenpair:
    """Hold one member's share of a score: weight times eigenvalue.

    Attributes:
        member: its number.
        weight: of its eigenvalue in the score; negative where the score looked at is that of the first of two classes.
        eig_idx: which eigenvalue, in ascending order from zero.
        eigenvalue: T's, so that the score is the offset plus the sum of weight times eigenvalue.
        eigenvector: (n,), of unit norm, its largest entry positive; an eigenvector's sign means nothing.
        diag, off_diag: T, (n,) and (n - 1,).
    """

    member: int
    weight: float
    eig_idx: int
    eigenvalue: float
    eigenvector: FloatArray
    diag: FloatArray
    off_diag: FloatArray


def member_eigenpairs(predictor: Predictor, output: Output, row: FloatArray) -> tuple[MemberEigenpair, ...]:
    """Compute the eigenpairs of an output's members at columns (F,)."""
    ensemble = predictor.ensemble
    heads = ensemble.heads(output.index)
    diag, off_diag = (part[0, heads] for part in predictor.matrices(row[None]))
    found = eigh_tridiagonal(diag, off_diag, eig_idx=ensemble.eig_idx)
    vectors = found.eigenvectors[:, 0]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    vectors = vectors * np.where(largest < 0.0, -1.0, 1.0)
    return tuple(
        MemberEigenpair(g, float(output.sign * weight), ensemble.eig_idx, float(value), vector, d, e)
        for g, (weight, value, vector, d, e) in enumerate(
            zip(ensemble.member_weights, found.eigenvalues[:, 0], vectors, diag, off_diag, strict=True)
        )
    )
