"""Validate, broadcast and choose a backend, once, before any kernel runs: the public solvers."""

from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eigenserve.model.eigensolvers import cpu, lapack
from eigenserve.model.kernels.threads import for_ranges

Backend = Literal["auto", "scipy", "numba", "triton"]
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)

# Work worth a second thread: measured 20 us to wake one, and about 3 ns per row and matrix.
_GRAIN_ROWS = 16384


@dataclass(frozen=True, slots=True)
class EigenResult:
    """Hold eigenpairs by index: eigenvalues (..., 2 window + 1), unit eigenvectors (..., 2 window + 1, n).

    Eigenvalues ascend up to their error: two that agree to rounding may be found in the other order.
    """

    eigenvalues: npt.NDArray[Any]
    eigenvectors: npt.NDArray[Any]


def eigvalsh_tridiagonal(
    diag: npt.ArrayLike,
    off_diag: npt.ArrayLike,
    *,
    eig_idx: int,
    backend: Backend = "auto",
    check_finite: bool = False,
) -> Any:
    """Return eigenvalue `eig_idx`, in ascending order from zero, of each symmetric tridiagonal matrix.

    diag (..., n) and off_diag (..., n - 1), whose batch axes broadcast; returns (...), float32 if both are
    float32, else float64 (integers included). Error at most 8 eps ||T||, the index proved by Sturm counts;
    float32 matrices are solved in float64 and rounded. A matrix that holds NaN or infinity gives NaN and
    touches no other, or raises if `check_finite`. A result does not depend on the batch the matrix travels
    in.

    Raises ValueError for shapes that do not match, an eig_idx outside [0, n), an unknown or unusable
    backend, or entries that are not finite where asked.
    """
    eig_idx = index(eig_idx)
    d, e, shape, dtype = _validated(diag, off_diag, eig_idx, check_finite)
    values = np.empty(len(d))
    chosen = _choose(backend)
    if chosen != "numba":
        _solvers[chosen](d, e, eig_idx, 0, values.reshape(-1, 1), np.empty((len(d), 1, d.shape[1])))
    elif len(d) <= (grain := _grain(d)):
        cpu.solve_eigenvalues(d, e, eig_idx, values)
    else:
        for_ranges(len(d), grain, lambda i, j: cpu.solve_eigenvalues(d[i:j], e[i:j], eig_idx, values[i:j]))
    if dtype is not _FLOAT64:
        values = values.astype(dtype)
    return values if len(shape) == 1 else values.reshape(shape)[()]


def eigh_tridiagonal(
    diag: npt.ArrayLike,
    off_diag: npt.ArrayLike,
    *,
    eig_idx: int,
    window: int = 0,
    backend: Backend = "auto",
    check_finite: bool = False,
) -> EigenResult:
    """Return eigenpairs eig_idx - window ... eig_idx + window of each symmetric tridiagonal matrix.

    Shapes, dtypes and errors as in `eigvalsh_tridiagonal`, whose eigenvalues these are bit for bit.
    Eigenvectors are unit vectors of either sign with ||T v - lambda v|| <= 32 eps ||T||; where eigenvalues
    repeat they are some orthonormal basis, which one is not specified. Places of the window beyond the
    spectrum hold -inf or +inf and zero vectors, so that a gap to them is infinite and a softmax weight
    zero.
    """
    eig_idx, window = index(eig_idx), index(window)
    if window < 0:
        raise ValueError(f"window must be at least 0; got {window}")
    d, e, shape, dtype = _validated(diag, off_diag, eig_idx, check_finite)
    places = 2 * window + 1
    values = np.empty((len(d), places))
    vectors = np.empty((len(d), places, d.shape[1]))
    _solvers[_choose(backend)](d, e, eig_idx, window, values, vectors)
    if dtype is not _FLOAT64:
        values, vectors = values.astype(dtype), vectors.astype(dtype)
    if len(shape) != 1:
        values, vectors = values.reshape(*shape, places), vectors.reshape(*shape, places, d.shape[1])
    return EigenResult(values, vectors)


def _solve_on_cpu(d: Any, e: Any, eig_idx: int, window: int, values: Any, vectors: Any) -> None:
    if len(d) <= (grain := _grain(d)):
        cpu.solve_window(d, e, eig_idx, window, values, vectors)
    else:
        for_ranges(
            len(d),
            grain,
            lambda i, j: cpu.solve_window(d[i:j], e[i:j], eig_idx, window, values[i:j], vectors[i:j]),
        )


def _solve_on_gpu(d: Any, e: Any, eig_idx: int, window: int, values: Any, vectors: Any) -> None:
    try:
        from eigenserve.model.eigensolvers.cuda import solve_window
    except ImportError as error:
        raise ValueError(
            f"backend 'triton' needs Triton, which comes with CUDA builds of torch ({error}); use 'auto' or 'numba'"
        ) from error
    solve_window(d, e, eig_idx, window, values, vectors)


def _solve_by_scipy(d: Any, e: Any, eig_idx: int, window: int, values: Any, vectors: Any) -> None:
    try:
        lapack.solve_window(d, e, eig_idx, window, values, vectors)
    except ImportError as error:
        raise ValueError(
            f"backend 'scipy' needs SciPy, which comes with the extra 'fit' ({error}); use 'auto' or 'numba'"
        ) from error


_solvers = {"numba": _solve_on_cpu, "scipy": _solve_by_scipy, "triton": _solve_on_gpu}


def _grain(d: Any) -> int:
    """Return the fewest matrices per thread, whole tiles of up to 32."""
    return max(1, _GRAIN_ROWS // (32 * int(d.shape[1]))) * 32


def _choose(backend: str) -> str:
    # NumPy arrays live in main memory: moving them to a GPU and back costs more than solving them here.
    chosen = "numba" if backend == "auto" else backend
    if chosen not in _solvers:
        raise ValueError(f"backend must be one of auto, {', '.join(_solvers)}; got {backend!r}")
    return chosen


def _validated(diag: Any, off_diag: Any, eig_idx: int, check_finite: bool) -> Any:
    """Return C-contiguous float64 (M, n) and (M, n - 1), the batch shape, and the dtype of the result."""
    a = np.asarray(diag)
    b = np.asarray(off_diag)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] == 0 or b.shape[-1] != a.shape[-1] - 1:
        raise ValueError(f"diag must be (..., n) with n >= 1 and off_diag (..., n - 1); got {a.shape} and {b.shape}")
    n = a.shape[-1]
    if not 0 <= eig_idx < n:
        raise ValueError(f"eig_idx must be in [0, {n}); got {eig_idx}")
    dtype = _FLOAT32 if _is_float32(a) and _is_float32(b) else _FLOAT64
    if a.shape[:-1] != b.shape[:-1]:
        try:
            shape = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
        except ValueError:
            raise ValueError(
                f"the batch axes of diag and off_diag must broadcast; got {a.shape} and {b.shape}"
            ) from None
        a = np.broadcast_to(a, (*shape, n))
        b = np.broadcast_to(b, (*shape, n - 1))
    shape = a.shape[:-1]
    d, e = _rows(a, n), _rows(b, n - 1)
    if check_finite and not (np.isfinite(d).all() and np.isfinite(e).all()):
        raise ValueError("diag and off_diag must be finite; got NaN or infinity (without check_finite they give NaN)")
    return d, e, shape, dtype


def _is_float32(a: Any) -> bool:
    return a.dtype is not _FLOAT64 and a.dtype.kind == "f" and a.dtype.itemsize == 4  # in either byte order


def _rows(a: Any, length: int) -> Any:
    """Return `a` as C-contiguous float64 (M, length); itself if it is that, for calls that last microseconds."""
    if not (a.dtype is _FLOAT64 and a.flags.c_contiguous):
        if a.dtype.kind not in "fiub":
            raise ValueError(f"matrices must hold real numbers; got {a.dtype}")
        a = np.ascontiguousarray(a, dtype=_FLOAT64)
    return a if a.ndim == 2 else a.reshape(1 if a.ndim == 1 else prod(a.shape[:-1]), length)
