"""Certificates of shape hold where they are given, and are refused to models built to break them."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.twin import random_model

from eigenserve.model.certificates.shapes import CertificateError, curved_certificate, monotone_certificate
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

DIM, MEMBERS = 4, 2
FEATURES = FeatureSpace(
    (
        Feature("x", "numeric", 0.0, low=-2.0, high=2.0),
        Feature("y", "numeric", 0.0, low=-2.0, high=2.0),
        Feature("town", "categorical", "a", categories=("a", "b")),
    )
)
TERMS = (Term("x", (0,)), Term("y", (1,)), Term("x & town", (0, 2)), Term("x & y", (0, 1)))
CURVES = CurveSet(
    (
        Curve(0, (0,), (1.0,), knots=(-2.0, -0.5, 0.5, 2.0)),
        Curve(1, (1,), (1.0,), knots=(-2.0, 2.0), extend=True),
        Curve(2, (0,), (1.0,), (2,), (3,), knots=(-2.0, 0.0, 2.0)),
        Curve(3, (0, 1), (-0.6, 0.8), knots=(-1.0, 0.0, 1.0), extend=True),
    )
)


def definite(rng, count):
    """Random positive definite tridiagonal matrices, (count, MEMBERS, DIM) and (..., DIM - 1)."""
    lower, below = rng.normal(size=(count, MEMBERS, DIM)), rng.normal(size=(count, MEMBERS, DIM - 1))
    diag = lower**2 + 0.05
    diag[..., 1:] += below**2
    return diag, lower[..., :-1] * below


def shaped_model(seed, build, eig_idx):
    """Each path's matrices from ``build(rng, knots)``, which gives them (knots, MEMBERS, DIM), (..., DIM - 1)."""
    rng = np.random.default_rng(seed)
    diag, off_diag = [], []
    for curve in CURVES.curves:
        for _ in range(curve.num_paths):
            for parts, part in zip((diag, off_diag), build(rng, curve), strict=True):
                parts.append(part)
    pencil = TridiagonalPencil(
        TERMS,
        CURVES,
        rng.normal(size=(MEMBERS, DIM)),
        rng.normal(size=(MEMBERS, DIM - 1)),
        np.concatenate(diag),
        np.concatenate(off_diag),
    )
    ensemble = SpectralEnsemble(pencil, eig_idx, np.array([0.3, 0.7]), np.zeros(1))
    return SpectralModel("regression", "goal", FEATURES, ensemble)


def rising(rng, curve):
    """Steps that are positive along x: negative ones where the curve runs down x."""
    sign = -1.0 if len(curve.numeric) == 2 else 1.0
    diag, off_diag = definite(rng, len(curve.knots))
    return sign * np.cumsum(diag, axis=0), sign * np.cumsum(off_diag, axis=0)


def bending(rng, curve):
    """Slopes that grow by a positive definite matrix at every knot, from a random one."""
    steps = np.diff(curve.knots)[:, None, None]
    out = []
    for part in definite(rng, len(curve.knots)):
        start = rng.normal(size=part[:1].shape) * 3.0
        slopes = start + np.cumsum(part[1:], axis=0)
        out.append(np.concatenate([start, start + np.cumsum(slopes * steps, axis=0)]))
    return out[0], out[1]


def way_along_x(rng, count=40, places=201):
    """Columns (count, places, F): along x, the other features anything."""
    columns = np.empty((count, places, 3))
    columns[..., 0] = np.linspace(-2.0, 2.0, places)
    columns[..., 1] = rng.uniform(-2.0, 2.0, (count, 1))
    columns[..., 2] = rng.integers(0, 3, (count, 1))
    return columns


def with_row(model, row, member, diag):
    """The model with one matrix changed."""
    changed = model.ensemble.pencil.diag.copy()
    changed[row, member] = diag
    pencil = replace(model.ensemble.pencil, diag=changed)
    return replace(model, ensemble=replace(model.ensemble, pencil=pencil))


@pytest.mark.parametrize("eig_idx", range(DIM))
@pytest.mark.parametrize("seed", range(3))
def test_a_certified_score_never_falls(eig_idx, seed):
    model = shaped_model(seed, rising, eig_idx)
    assert monotone_certificate(model, {"x": "+"}) == {"x": "+"}
    assert model.certificates().monotone["x"] == "+"
    columns = way_along_x(np.random.default_rng(seed))
    scores = model.scores(columns.reshape(-1, 3)).reshape(columns.shape[:2])
    assert np.diff(scores, axis=1).min() >= -1e-12  # what the eigenvalues round
    assert np.ptp(scores, axis=1).min() > 0.1


def test_a_model_built_to_fall_somewhere_is_refused_monotone():
    model = shaped_model(0, rising, 1)
    # One member, one category, the last step, and only where that category's eigenvector leans on the third entry.
    row = int(CURVES.offsets[2]) + 2 * 3 + 2
    before = model.ensemble.pencil.diag[row - 1, 1]
    step = model.ensemble.pencil.diag[row, 1] - before
    broken = with_row(model, row, 1, before + step * np.array([1.0, 1.0, -0.5, 1.0]))
    with pytest.raises(CertificateError, match="'x' is not certified monotone: a step of a curve of 'x & town'"):
        monotone_certificate(broken, {"x": "+"})
    assert "x" not in broken.certificates().monotone
    with pytest.raises(CertificateError):
        monotone_certificate(model, {"x": "-"})


def test_a_step_that_is_not_definite_by_a_hair_is_refused():
    model = shaped_model(0, rising, 1)
    row = int(CURVES.offsets[0]) + 1
    off_diag = model.ensemble.pencil.off_diag.copy()
    off_diag[row] = off_diag[row - 1]
    flat = replace(model.ensemble.pencil, off_diag=off_diag)
    flat = replace(model, ensemble=replace(model.ensemble, pencil=flat))
    before = model.ensemble.pencil.diag[row - 1, 0]
    for hair in (-1e-9, 0.0):
        broken = with_row(flat, row, 0, before + np.array([1.0, 1.0, hair, 1.0]))
        with pytest.raises(CertificateError):
            monotone_certificate(broken, {"x": "+"})


@pytest.mark.parametrize(("shape", "eig_idx", "sign"), [("convex", DIM - 1, 1.0), ("concave", 0, -1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_a_certified_score_bends_one_way(shape, eig_idx, sign, seed):
    def build(rng, curve):
        diag, off_diag = bending(rng, curve)
        return sign * diag, sign * off_diag

    model = shaped_model(seed, build, eig_idx)
    assert curved_certificate(model, {"x": shape, "y": shape}) == {"x": shape, "y": shape}
    assert model.certificates().curved == {"x": shape, "y": shape}
    columns = way_along_x(np.random.default_rng(seed))
    scores = model.scores(columns.reshape(-1, 3)).reshape(columns.shape[:2])
    assert (sign * np.diff(scores, n=2, axis=1)).min() >= -1e-11  # what the eigenvalues round
    assert (sign * np.diff(scores, n=2, axis=1)).max() > 1e-4


def test_models_built_to_bend_both_ways_are_refused():
    model = shaped_model(0, bending, DIM - 1)
    row = int(CURVES.offsets[2]) + 3 + 1  # the middle knot of one category
    for member in range(MEMBERS):
        broken = with_row(model, row, member, model.ensemble.pencil.diag[row, member] + np.array([0.0, 0.0, 30.0, 0.0]))
        with pytest.raises(CertificateError, match="'x' is not certified convex: a curve of 'x & town' bends"):
            curved_certificate(broken, {"x": "convex"})
        assert curved_certificate(broken, {"y": "convex"}) == {"y": "convex"}
    for other in range(DIM - 1):
        middle = replace(model, ensemble=replace(model.ensemble, eig_idx=other))
        with pytest.raises(CertificateError, match="that takes the eigenvalue 3"):
            curved_certificate(middle, {"x": "convex"})


def with_first(model, feature):
    return replace(model, features=FeatureSpace((feature, *FEATURES.features[1:])))


def test_a_path_that_stops_within_the_training_range_is_not_convex():
    model = shaped_model(0, bending, DIM - 1)
    wider = replace(FEATURES.features[0], low=-2.5)
    with pytest.raises(CertificateError):
        curved_certificate(with_first(model, wider), {"x": "convex"})
    logarithm = replace(FEATURES.features[0], transform="log", low=1.0)
    with pytest.raises(CertificateError, match="takes its logarithm"):
        curved_certificate(with_first(model, logarithm), {"x": "convex"})


def test_random_models_get_no_certificates_and_questions_without_sense_are_refused():
    found = random_model(dim=5, eig_idx=4).certificates()
    assert not found.monotone
    assert not found.curved
    model = shaped_model(0, bending, DIM - 1)
    with pytest.raises(ValueError, match="no feature 'z'"):
        curved_certificate(model, {"z": "convex"})
    with pytest.raises(ValueError, match="'town' is categorical"):
        monotone_certificate(model, {"town": "+"})
    with pytest.raises(ValueError, match="a shape must be 'convex' or 'concave'"):
        curved_certificate(model, {"x": "flat"})
