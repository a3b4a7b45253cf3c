"""The readable twin: random models of every shape, and their scores computed one row at a time, densely."""

import math

import numpy as np

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

FEATURES = FeatureSpace(
    (
        Feature("width", "numeric", 2.0, center=1.5, scale=2.5, low=-5.0, high=5.0),
        Feature("price", "numeric", 30.0, "log", center=3.0, scale=0.8, low=0.5, high=900.0, missing=True),
        Feature("sold", "boolean", True, missing=True),
        Feature("town", "categorical", "Bath", categories=("3", "Bath", "York", "true")),
        Feature("kind", "categorical", "a", categories=("a", "b"), missing=True),
    )
)
WIDTH, PRICE, SOLD, TOWN, KIND = range(5)
CLASSES = {"regression": (), "poisson": (), "binary": ("no", "yes"), "multiclass": ("x", "y", "z")}

TERMS = (
    Term("width", (WIDTH,)),
    Term("price", (PRICE,)),
    Term("sold", (SOLD,)),
    Term("town", (TOWN,)),
    Term("kind", (KIND,)),
    Term("width & price", (WIDTH, PRICE)),
    Term("width & town", (WIDTH, TOWN)),
    Term("town & kind", (TOWN, KIND)),
)
CURVES = CurveSet(
    (
        Curve(0, (WIDTH,), (1.0,), knots=(-1.0, -0.25, 0.5, 2.0)),
        Curve(0, (WIDTH,), (1.0,), knots=(-1.0, 1.0), extend=True),
        Curve(1, (PRICE,), (1.0,), knots=(-2.0, 0.0, 0.125, 1.0), extend=True, missing=True),
        Curve(2, (SOLD,), (1.0,), knots=(0.0, 1.0), missing=True),
        Curve(3, categorical=(TOWN,), num_codes=(5,)),
        Curve(4, categorical=(KIND,), num_codes=(3,), missing=True),
        Curve(5, (WIDTH, PRICE), (1.0, 0.0), knots=(-1.0, 0.0, 1.0), missing=True),
        Curve(5, (WIDTH, PRICE), (0.6, -0.8), knots=(-1.5, 1.0), missing=True),
        Curve(6, (WIDTH,), (1.0,), (TOWN,), (5,), knots=(-1.0, 0.0, 1.5)),
        Curve(7, categorical=(TOWN, KIND), num_codes=(5, 3), missing=True),
    )
)


def random_pencil(rng, heads, dim, terms=TERMS, curves=CURVES, scale=1.0):
    """Matrices drawn at random, a chain for the constant."""
    count = curves.num_matrices
    return TridiagonalPencil(
        terms=terms,
        curves=curves,
        constant_diag=rng.standard_normal((heads, dim)) * scale,
        constant_off_diag=(1.0 + 0.1 * rng.standard_normal((heads, dim - 1))) * scale,
        diag=0.5 * rng.standard_normal((count, heads, dim)) * scale,
        off_diag=0.5 * rng.standard_normal((count, heads, dim - 1)) * scale,
    )


def random_ensemble(rng, outputs=1, members=3, dim=7, eig_idx=None, terms=TERMS, curves=CURVES, scale=1.0):
    """Members with random matrices, weights and offsets."""
    weights = rng.random(members) + 0.1
    return SpectralEnsemble(
        pencil=random_pencil(rng, outputs * members, dim, terms, curves, scale),
        eig_idx=dim // 2 if eig_idx is None else eig_idx,
        member_weights=weights / weights.sum(),
        offset=rng.standard_normal(outputs) * scale,
    )


def random_model(task="regression", dim=7, members=3, seed=0, eig_idx=None, scale=1.0):
    """A model with every kind of feature and curve, and random matrices."""
    outputs = 3 if task == "multiclass" else 1
    ensemble = random_ensemble(np.random.default_rng(seed), outputs, members, dim, eig_idx, scale=scale)
    return SpectralModel(task, "goal", FEATURES, ensemble, CLASSES[task], {"metrics": {"rmse": 1.5}})


def random_rows(count, seed=0):
    """Rows by name with missing and unknown values, and numbers within and beyond the knots."""
    rng = np.random.default_rng(seed)

    def some(values, missing):
        return None if rng.random() < missing else values[rng.integers(len(values))]

    return [
        {
            "width": some([float(rng.normal(1.5, 4.0)), int(rng.integers(-9, 9))], 0.05),
            "price": some([float(np.exp(rng.normal(3.0, 1.5))), 0.0], 0.15),
            "sold": some([True, False], 0.15),
            "town": some(["Bath", "York", 3, True, "Rome"], 0.1),
            "kind": some(["a", "b", "c"], 0.2),
        }
        for _ in range(count)
    ]


def slow_coordinates(row):
    """One row by name -> what walks the curves, spelt out feature by feature."""
    width = 2.0 if row["width"] is None else row["width"]
    price = math.nan if row["price"] is None else (math.log(max(row["price"], 0.5)) - 3.0) / 0.8
    sold = math.nan if row["sold"] is None else float(row["sold"])
    town = {"Bath": 1, "York": 2, 3: 0, True: 3}.get(row["town"], 4)
    kind = math.nan if row["kind"] is None else {"a": 0, "b": 1}.get(row["kind"], 2)
    return [(width - 1.5) / 2.5, price, sold, town, kind]


def slow_curve_matrix(curve, matrices, z):
    """The matrix at which coordinates stand on one curve; ``matrices`` are those of the curve."""
    parts = [z[i] for i in curve.numeric + curve.categorical]
    if any(math.isnan(part) for part in parts):
        return matrices[-1]
    path = 0
    for feature, codes in zip(curve.categorical, curve.num_codes, strict=True):
        path = path * codes + int(z[feature])
    count = len(curve.knots)
    path = matrices[path * count : (path + 1) * count]
    u = sum(weight * z[i] for i, weight in zip(curve.numeric, curve.direction, strict=True))
    if count == 1:
        return path[0]
    if not curve.extend:
        u = min(max(u, curve.knots[0]), curve.knots[-1])
    step = 0
    while step < count - 2 and u >= curve.knots[step + 1]:
        step += 1
    share = (u - curve.knots[step]) / (curve.knots[step + 1] - curve.knots[step])
    return (1.0 - share) * path[step] + share * path[step + 1]


def dense(diag, off_diag):
    """(..., n) and (..., n - 1) -> (..., n, n)."""
    n = diag.shape[-1]
    full = np.zeros((*diag.shape, n))
    i = np.arange(n)
    full[..., i, i] = diag
    full[..., i[1:], i[:-1]] = full[..., i[:-1], i[1:]] = off_diag
    return full


def slow_matrices(pencil, z):
    """Coordinates of one row -> the constant matrices (H, n, n), and one such array for each term."""
    table = dense(pencil.diag, pencil.off_diag)
    parts = [np.zeros((pencil.num_heads, pencil.dim, pencil.dim)) for _ in pencil.terms]
    first = 0
    for curve in pencil.curves.curves:
        last = first + curve.num_matrices
        parts[curve.term] = parts[curve.term] + slow_curve_matrix(curve, table[first:last], z)
        first = last
    return dense(pencil.constant_diag, pencil.constant_off_diag), parts


def slow_scores(model, row):
    """One row by name -> its scores (O,), by dense eigenvalues."""
    ensemble = model.ensemble
    constant, parts = slow_matrices(ensemble.pencil, slow_coordinates(row))
    eigenvalues = np.linalg.eigvalsh(constant + sum(parts))[:, ensemble.eig_idx]
    return ensemble.offset + eigenvalues.reshape(len(ensemble.offset), -1) @ ensemble.member_weights
