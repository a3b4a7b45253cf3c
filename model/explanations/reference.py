"""Reference: the population that the integrated explanation compares with, as the mean of its matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Walk
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.predictor import Predictor

#: The default reference: every term is centred on the rows of training, so that its mean matrix is zero.
TRAINING = "training average"
#: What answers call the mean of rows that a request gives.
GIVEN = "given rows"


@dataclass(frozen=True, eq=False)
class Reference:
    """Describe a population by how much of it stands at each matrix of a pencil's curves.

    Attributes:
        name: what answers call it.
        shares: (R,), the mean over the population of the weight that each of the curves' matrices has in T; zeros for
            the training average.
        rows: how many rows they are the mean of; None where that is not known.
    """

    name: str
    shares: FloatArray
    rows: int | None = None

    def term_matrices(self, pencil: TridiagonalPencil) -> tuple[FloatArray, FloatArray]:
        """Return the mean of every term's matrix, (T, H, n) and (T, H, n - 1)."""
        curves = pencil.curves
        term_of = np.repeat(curves.term, np.diff(curves.offsets))
        diag = np.zeros((len(pencil.terms), *pencil.constant_diag.shape))
        off_diag = np.zeros((len(pencil.terms), *pencil.constant_off_diag.shape))
        for t in range(len(pencil.terms)):
            own = np.flatnonzero((term_of == t) & (self.shares != 0.0))
            for mean, part in ((diag, pencil.diag), (off_diag, pencil.off_diag)):
                mean[t] = np.tensordot(self.shares[own], part[own], axes=1)
        return diag, off_diag

    def scores(self, ensemble: SpectralEnsemble) -> FloatArray:
        """Return the scores of the reference's mean matrix, (O,)."""
        pencil, scores = ensemble.pencil, np.empty((1, ensemble.num_outputs))
        diag, off_diag = self.term_matrices(pencil)
        at = pencil.constant_diag + diag.sum(axis=0), pencil.constant_off_diag + off_diag.sum(axis=0)
        ensemble.combine(ensemble.eigenvalues(at[0][None], at[1][None], ensemble.eig_idx), scores)
        return scores[0]


def training_reference(predictor: Predictor) -> Reference:
    """Return the reference at the centre of the terms."""
    return Reference(TRAINING, np.zeros(predictor.ensemble.pencil.curves.num_matrices))


def reference_of(predictor: Predictor, columns: FloatArray, name: str) -> Reference:
    """Return the reference of a population, as columns (B, F)."""
    curves = predictor.ensemble.pencil.curves
    walk = curves.walk(predictor.features.coordinates(columns))
    return Reference(name, mean_weights(walk, curves.num_matrices), len(columns))


def mean_weights(walk: Walk, num_matrices: int) -> FloatArray:
    """Return the mean weight that rows give each matrix of the curves, (R,)."""
    starts, weights = walk.starts.ravel().astype(np.int64), walk.weights.ravel()
    shares = np.bincount(starts, 1.0 - weights, minlength=num_matrices + 1)
    shares += np.bincount(starts + 1, weights, minlength=num_matrices + 1)
    return shares[:num_matrices] / len(walk.starts)


def check_name(name: str) -> None:
    """Refuse the name of a reference that answers give to another one.

    Raises:
        ValueError: in whichever letters it is written.
    """
    if name.strip().casefold() in (TRAINING, GIVEN):
        raise ValueError(f"must not be {TRAINING!r} or {GIVEN!r}, which answers call others; got {name!r}")


def with_reference(card: Mapping[str, Any], reference: Reference) -> dict[str, Any]:
    """Return a checkpoint's card that keeps a reference, in place of one of the same name.

    Raises:
        ValueError: a name that is reserved (see ``check_name``).
    """
    check_name(reference.name)
    entry = {"rows": reference.rows, "shares": reference.shares.tolist()}
    return {**card, "references": {**(card.get("references") or {}), reference.name: entry}}


def read_references(kept: Mapping[str, Any], num_matrices: int) -> dict[str, Reference]:
    """Return the named references of a checkpoint's card.

    Raises:
        ValueError: one that does not fit the model.
    """
    references = {}
    for name, entry in kept.items():
        shares = np.array(entry["shares"], np.float64)
        if shares.shape != (num_matrices,) or not np.isfinite(shares).all():
            raise ValueError(f"reference {name!r} must have {num_matrices} finite shares; got shape {shares.shape}")
        references[name] = Reference(name, shares, entry.get("rows"))
    return references
