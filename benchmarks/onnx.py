"""Exported files in onnxruntime against SciPy row by row and against the model itself: time, size, loading.

SciPy gets the finished matrices and one eigenvalue (or, for explanations, the eigenpair and both neighbouring
eigenvalues) of each; onnxruntime starts from raw features and gives predictions (or explanations).
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal

from eigenserve.model.explanations.explain import explain
from eigenserve.model.kernels.threads import num_threads
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.onnx import ExportSettings, graph_inputs, onnx_bytes
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

FEATURES = 8
KNOTS = 16
#: SciPy solves so many of the rows, and its time is scaled up.
SCIPY_ROWS = 512


def run(quick: bool = False) -> None:
    """Print the table."""
    print(f"Export to ONNX, {FEATURES} features of {KNOTS} knots, {num_threads()} threads, best times")
    columns = ("n", "heads", "batch", "precision", "what", "ms", "us/row", "x SciPy", "x model", "kB", "load ms")
    print(" ".join(f"{column:>9}" for column in columns))
    for dim, members in ((45, 1),) if quick else ((15, 8), (45, 1), (45, 8)):
        model = random_model(dim, members)
        for batch in (4096,) if quick else (1, 64, 4096):
            for precision in ("float64", "float32"):
                for explained in (False, True):
                    _row(model, batch, ExportSettings(explain=explained, precision=precision), 15 if quick else 9)


def random_model(dim: int, members: int) -> SpectralModel:
    """A regression of eight numbers with random matrices."""
    rng = np.random.default_rng(0)
    features = tuple(Feature(f"x{i}", "numeric", 0.0, low=-2.0, high=2.0) for i in range(FEATURES))
    knots = tuple(np.linspace(-2, 2, KNOTS).tolist())
    curves = CurveSet(tuple(Curve(i, numeric=(i,), direction=(1.0,), knots=knots) for i in range(FEATURES)))
    pencil = TridiagonalPencil(
        terms=tuple(Term(feature.name, (i,)) for i, feature in enumerate(features)),
        curves=curves,
        constant_diag=rng.standard_normal((members, dim)),
        constant_off_diag=rng.standard_normal((members, dim - 1)),
        diag=0.3 * rng.standard_normal((curves.num_matrices, members, dim)),
        off_diag=0.3 * rng.standard_normal((curves.num_matrices, members, dim - 1)),
    )
    ensemble = SpectralEnsemble(pencil, dim // 2, np.full(members, 1 / members), np.zeros(1))
    return SpectralModel("regression", "y", FeatureSpace(features), ensemble)


def _row(model: SpectralModel, batch: int, settings: ExportSettings, rounds: int) -> None:
    columns = np.random.default_rng(1).uniform(-2, 2, (batch, FEATURES))
    content, inputs = onnx_bytes(model, settings), graph_inputs(model, columns, settings)
    session, load_s = _loaded(content)
    own = partial(explain, model) if settings.explain else model.scores
    part = min(batch, SCIPY_ROWS)
    times = _in_turns(
        {
            "onnx": lambda: session.run(None, inputs),
            "scipy": _scipy(model, columns[:part], settings.explain),
            "model": lambda: own(columns),
        },
        rounds,
    )
    onnx_s = times["onnx"]
    figures = (
        model.ensemble.pencil.dim,
        model.ensemble.pencil.num_heads,
        batch,
        settings.precision,
        "explain" if settings.explain else "predict",
        f"{1e3 * onnx_s:.2f}",
        f"{1e6 * onnx_s / batch:.2f}",
        f"{times['scipy'] * batch / part / onnx_s:.1f}",
        f"{times['model'] / onnx_s:.2f}",
        f"{len(content) / 1e3:.0f}",
        f"{1e3 * load_s:.0f}",
    )
    print(" ".join(f"{figure:>9}" for figure in figures), flush=True)


def _loaded(content: bytes) -> tuple[onnxruntime.InferenceSession, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads()
    options.log_severity_level = 3
    times = []
    for _ in range(3):
        start = time.perf_counter()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        times.append(time.perf_counter() - start)
    return session, min(times)


def _scipy(model: SpectralModel, columns: np.ndarray, explained: bool) -> Callable[[], object]:
    """One call per matrix, on matrices made beforehand."""
    pencil, k = model.ensemble.pencil, model.ensemble.eig_idx
    diag, off_diag = pencil.matrices(pencil.curves.walk(model.features.coordinates(columns)))
    pairs = list(zip(diag.reshape(-1, pencil.dim), off_diag.reshape(-1, pencil.dim - 1), strict=True))
    if explained:
        return lambda: [eigh_tridiagonal(d, e, select="i", select_range=(k - 1, k + 1)) for d, e in pairs]
    return lambda: [eigvalsh_tridiagonal(d, e, select="i", select_range=(k, k)) for d, e in pairs]


def _in_turns(rivals: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least seconds of each, measured in turns: other work on the machine only ever adds."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for call in rivals.values():
        call()
    for _ in range(rounds):
        for name, call in rivals.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: min(own) for name, own in times.items()}


if __name__ == "__main__":
    run()
