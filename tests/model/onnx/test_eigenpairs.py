"""The graph's eigenpairs are LAPACK's on every kind of matrix that makes eigensolvers stumble."""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from eigenserve.model.onnx import ExportSettings, graph_inputs, to_onnx  # noqa: E402
from eigenserve.model.onnx.agreement import compare, run  # noqa: E402
from eigenserve.model.onnx.export import to_bytes  # noqa: E402
from eigenserve.model.onnx.graph import Graph  # noqa: E402
from eigenserve.model.onnx.scores import spectrum  # noqa: E402

COUNT = 40


def random(rng, d, e):
    return d, e


def clustered(rng, d, e):
    return 1.0 + 1e-9 * d, 1e-9 * e


def repeated(rng, d, e):
    return np.repeat(d[:, :1], d.shape[1], axis=1), 0.0 * e


def uncoupled(rng, d, e):
    return d, 0.0 * e


def blocks_of_small_integers(rng, d, e):
    e = np.round(e)
    e[:, ::3] = 0.0
    return np.round(d), e


def graded(rng, d, e):
    size = np.logspace(0, -12, d.shape[1])
    return d * size, e * np.sqrt(size[1:] * size[:-1])


def huge(rng, d, e):
    return 1e150 * d, 1e150 * e


def tiny(rng, d, e):
    return 1e-150 * d, 1e-150 * e


def wilkinson(rng, d, e):
    rows = np.arange(d.shape[1]) - (d.shape[1] - 1) / 2
    return np.abs(rows) * np.ones_like(d), np.ones_like(e)


def glued_wilkinson(rng, d, e):
    e = np.ones_like(e)
    e[:, 14::15] = 1e-8
    return np.abs(np.arange(d.shape[1]) % 15 - 7.0) * np.ones_like(d), e


def toeplitz(rng, d, e):
    return np.full_like(d, 2.0), np.full_like(e, -1.0)


def zero(rng, d, e):
    return 0.0 * d, 0.0 * e


def ramp(rng, d, e):
    """Eigenvectors so local that most of their entries underflow."""
    return np.arange(float(d.shape[1])) * np.ones_like(d), np.full_like(e, 1e-5)


def weakly_coupled(rng, d, e):
    return d, 1e-6 * e


def symmetric_about_zero(rng, d, e):
    return d - d[:, ::-1], e + e[:, ::-1]


FAMILIES = [
    random,
    clustered,
    repeated,
    uncoupled,
    blocks_of_small_integers,
    graded,
    huge,
    tiny,
    wilkinson,
    glued_wilkinson,
    toeplitz,
    zero,
    ramp,
    weakly_coupled,
    symmetric_about_zero,
]


def model_of(diag, off_diag, eig_idx):
    """A model whose only feature chooses one of the matrices."""
    count, dim = diag.shape
    categories = tuple(str(i) for i in range(count - 1))
    return SpectralModel(
        task="regression",
        target="y",
        features=FeatureSpace((Feature("matrix", "categorical", "0", categories=categories),)),
        ensemble=SpectralEnsemble(
            pencil=TridiagonalPencil(
                terms=(Term("matrix", (0,)),),
                curves=CurveSet((Curve(0, categorical=(0,), num_codes=(count,)),)),
                constant_diag=np.zeros((1, dim)),
                constant_off_diag=np.zeros((1, dim - 1)),
                diag=diag[:, None],
                off_diag=off_diag[:, None],
            ),
            eig_idx=eig_idx,
            member_weights=np.ones(1),
            offset=np.zeros(1),
        ),
    )


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("dim", "eig_idx"), [(2, 1), (3, 0), (45, 15)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_eigenpairs_are_lapacks(family, dim, eig_idx, precision):
    if precision == "float32" and family in (huge, tiny):
        pytest.skip("beyond the range of float32")
    rng = np.random.default_rng(dim)
    diag, off_diag = family(rng, rng.standard_normal((COUNT, dim)), rng.standard_normal((COUNT, dim - 1)))
    model, settings = model_of(diag, off_diag, eig_idx), ExportSettings(explain=True, precision=precision)
    columns = np.arange(float(COUNT))[:, None]
    found = run(to_bytes(to_onnx(model, settings)), graph_inputs(model, columns, settings))
    norm = np.abs(diag).max(axis=1) + 2 * np.abs(off_diag).max(axis=1)
    # Measured: 7e-14 at most (where Newton stops short of the last digits) and 2e-7; matrices below the least
    # norm count as zero.
    relative, least = (1e-13, 1e-290) if precision == "float64" else (1e-6, 1e-34)
    for j in range(COUNT):
        expected = eigh_tridiagonal(diag[j], off_diag[j], eigvals_only=True)[eig_idx]
        assert abs(found["prediction"][j, 0] - expected) <= relative * norm[j] + least
    # v'Tv is the eigenvalue whichever vector of a cluster v is.
    total = found["baseline"] + found["contributions"]
    assert (np.abs(total - found["score"])[:, 0] <= 4 * relative * norm + least).all()
    # Where the gap allows, the parts agree too; how far it does is `compare`'s to say.
    for name, ratio in compare(model, columns, found, settings).items():
        assert ratio <= 1.0, name


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_model_of_one_by_one_matrices_is_a_plain_sum(precision):
    values = np.random.default_rng(0).standard_normal((COUNT, 1)).astype(precision).astype(np.float64)
    model = model_of(values, np.zeros((COUNT, 0)), 0)
    settings = ExportSettings(explain=True, precision=precision)
    columns = np.arange(float(COUNT))[:, None]
    found = run(to_bytes(to_onnx(model, settings)), graph_inputs(model, columns, settings))
    assert (found["prediction"] == values).all()
    assert (found["contributions"] == values).all()
    assert np.isposinf(found["gap"]).all()


def solver(dim, eig_idx, precision):
    """A file that takes matrices themselves: entries (2 dim - 1, lanes), diagonals first."""
    graph = Graph(17, reserved=["entries", "value", "gap"])
    entries = graph.input("entries", precision, [2 * dim - 1, "lanes"], "")
    found = spectrum(entries, dim, eig_idx, with_gap=True)
    graph.output("value", found.value, [1, "lanes"], "")
    graph.output("gap", found.gap, [1, "lanes"], "")
    domains = [onnx.helper.make_opsetid("", 17)]
    return to_bytes(onnx.helper.make_model(graph.proto("solver", ""), opset_imports=domains, ir_version=8))


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_a_matrix_that_holds_nan_or_infinity_gives_nan_and_touches_no_other(dim, precision):
    clean = np.random.default_rng(0).standard_normal((2 * dim - 1, 6)).astype(precision)
    spoilt = clean.copy()
    spoilt[0, 1], spoilt[-1, 3], spoilt[dim // 2, 4] = np.nan, np.inf, -np.inf
    content = solver(dim, dim // 2, precision)
    expected, got = (run(content, {"entries": values}) for values in (clean, spoilt))
    for name in ("value", "gap"):
        bad = [1, 3, 4] if dim > 1 or name == "gap" else [1]
        assert np.isnan(got[name][0, bad]).all()
        assert np.array_equal(got[name][0, [0, 2, 5]], expected[name][0, [0, 2, 5]])


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_diagonal_of_minus_zero_counts_as_zero(precision):
    """Between uncoupled blocks a pivot of -0 in place of +0 has the wrong reciprocal, at a shift of zero."""
    entries = np.full((11, COUNT), -0.0, precision)
    entries[[6, 8, 10]] = [[1.0], [0.5], [0.25]]  # couplings of rows 0 and 1, 2 and 3, 4 and 5
    for eig_idx, expected in enumerate([-1.0, -0.5, -0.25, 0.25, 0.5, 1.0]):
        found = run(solver(6, eig_idx, precision), {"entries": entries})["value"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
