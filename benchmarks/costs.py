"""What an answer costs as a multiple of what bounds it, in one process: each line with its ratio, kept in the history.

    python -m benchmarks.costs [--quick]

A made model of 12 numbers, 5 pairs and 8 members of dim 15. Explanations are measured against predictions of the same
rows, one row's Shapley values against predictions of its 4,096 coalitions as rows, and the solver's cost for a row of a
matrix against that at n = 100. The limits are sums of numbers that lie in memory and in the second cache: the solver
reads a row of every matrix, 8 bytes in float32 and 16 in float64, some READS times, from the first cache at n = 100 and
from ever farther ones beyond.
"""

import argparse
import itertools
from collections.abc import Callable, Mapping

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal as scipy_eigenvalues

from benchmarks.history import record
from benchmarks.limits import machine_limits
from benchmarks.timing import interleaved
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.kernels.threads import num_threads
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

FEATURES, PAIRS, MEMBERS, DIM = 12, 5, 8, 15
ROWS = 10_000
ORDERS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: Of those, where SciPy solves one matrix for comparison, its bisection on one thread.
PEER_ORDERS = (100, 1_000)
#: About how often the solver reads each row of a matrix, two numbers.
READS = 25
#: Numbers of each batch: 64 matrices of the largest order are 6.4 million.
NUMBERS = 2**22


def run(quick: bool = False) -> None:
    """Measure, print, and add to the history."""
    rounds = 3 if quick else 11
    print(f"\nCosts in one process, {num_threads()} threads, medians of {rounds} turns\n")
    model, columns = _model()
    coalitions = np.where(list(itertools.product((False, True), repeat=FEATURES)), columns[0], 0.0)
    calls: Mapping[str, Callable[[], object]] = {
        "predict": lambda: model.predict(columns),
        "eigenvector": lambda: model.explain(columns, method="eigenvector"),
        "integrated": lambda: model.explain(columns[:1_000], method="integrated"),
        "shapley": lambda: model.explain(columns[:1], method="shapley"),
        "coalitions": lambda: model.predict(coalitions),
    }
    times = interleaved(calls, rounds)
    figures = {
        f"predict {ROWS:,} rows, us a row": 1e6 * times["predict"] / ROWS,
        "explain by eigenvector, us a row": 1e6 * times["eigenvector"] / ROWS,
        "explain by eigenvector against predict, ratio": times["eigenvector"] / times["predict"],
        "explain integrated, us a row": 1e3 * times["integrated"],
        "explain integrated against predict, ratio": 10 * times["integrated"] / times["predict"],
        "explain by shapley, one row of 12 features, ms": 1e3 * times["shapley"],
        "shapley against predicting its coalitions, ratio": times["shapley"] / times["coalitions"],
    }
    orders = ORDERS[:4] if quick else ORDERS
    solved = interleaved({str(n): _solve(n) for n in orders}, rounds)
    row_ns = {n: 1e9 * solved[str(n)] / (_batch(n) * n) for n in orders}
    for n in orders:
        figures[f"a matrix row at n = {n:,}, ns"] = row_ns[n]
        figures[f"a matrix row at n = {n:,} against n = 100, ratio"] = row_ns[n] / row_ns[100]
    scipy = interleaved({str(n): _solve_by_scipy(n) for n in PEER_ORDERS}, 3)
    for n in PEER_ORDERS:
        figures[f"a matrix row at n = {n:,}, SciPy against ours, ratio"] = 1e9 * scipy[str(n)] / n / row_ns[n]
    alone = interleaved({"": _solve_by_scipy(DIM)}, 3)[""]
    figures["SciPy for a row's eigenvalues against predict, ratio"] = MEMBERS * alone * ROWS / times["predict"]
    limits = machine_limits(rounds)
    for n in orders[2:]:
        read_ns = READS * 2 * limits["limit: a float64 from memory, ns"]
        figures[f"a matrix row at n = {n:,} against reading it {READS} times, ratio"] = row_ns[n] / read_ns
    figures |= limits
    print("wanted: explain 1.5 of predict, a row at n = 10,000 1.3 of n = 100, shapley 0.6 ms\n")
    record("costs quick" if quick else "costs", figures, "")


def _batch(n: int) -> int:
    return max(64, NUMBERS // n)


def _matrices(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    return rng.standard_normal((_batch(n), n)), rng.standard_normal((_batch(n), n - 1))


def _solve(n: int) -> Callable[[], object]:
    diag, off_diag = _matrices(n)
    return lambda: eigvalsh_tridiagonal(diag, off_diag, eig_idx=n // 2)


def _solve_by_scipy(n: int) -> Callable[[], object]:
    diag, off_diag = (part[0] for part in _matrices(n))
    return lambda: scipy_eigenvalues(diag, off_diag, select="i", select_range=(n // 2, n // 2))


def _model() -> tuple[SpectralModel, np.ndarray]:
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(FEATURES)]
    pairs = [(2 * k, 2 * k + 1) for k in range(PAIRS)]
    terms = [Term(name, (i,)) for i, name in enumerate(names)]
    terms += [Term(f"x{a} & x{b}", (a, b)) for a, b in pairs]
    knots, fewer = tuple(np.linspace(-2.0, 2.0, 16).tolist()), tuple(np.linspace(-2.0, 2.0, 8).tolist())
    curves = [Curve(i, (i,), (1.0,), knots=knots) for i in range(FEATURES)]
    curves += [Curve(FEATURES + k, pair, (0.6, 0.8), knots=fewer) for k, pair in enumerate(pairs)]
    shape = CurveSet(tuple(curves))
    matrices = shape.num_matrices
    pencil = TridiagonalPencil(
        tuple(terms),
        shape,
        0.3 * rng.standard_normal((MEMBERS, DIM)),
        1.0 + 0.1 * rng.standard_normal((MEMBERS, DIM - 1)),
        0.3 * rng.standard_normal((matrices, MEMBERS, DIM)),
        0.3 * rng.standard_normal((matrices, MEMBERS, DIM - 1)),
    )
    features = FeatureSpace(tuple(Feature(name, "numeric", typical=0.0, low=-3.0, high=3.0) for name in names))
    ensemble = SpectralEnsemble(pencil, DIM // 2, np.full(MEMBERS, 1.0 / MEMBERS), np.zeros(1))
    return SpectralModel("regression", "y", features, ensemble), rng.standard_normal((ROWS, FEATURES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and orders")
    run(quick=parser.parse_args().quick)
