"""Solve on the CPU by serial Numba kernels that release the GIL, for contiguous float64 arrays.

Nothing is validated here. All arrays are C-contiguous float64, diag (M, n), off_diag (M, n - 1); outputs
are written in place. Any split of a batch over calls or threads gives the same bits.
"""

from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.solver import MARKS, SMALL_ROWS, solve_tile, write_beyond
from eigenserve.model.eigensolvers.tiles.sturm import BLOCK
from eigenserve.model.eigensolvers.tiles.tile import aligned_rows
from eigenserve.model.kernels.compiled import as_read_only, kernel, part
from eigenserve.model.kernels.lanes import LANES_F32, LANES_F64
from eigenserve.model.kernels.source_digest import SOLVER_SOURCES, source_digest

# A gap below this share of the largest diagonal entry is taken from the neighbours' eigenvalues instead of from counts.
NARROW_GAP = 2.0**-20


def _cached(sources: int) -> Any:
    """Compile an entry point to disk; what it calls becomes part of it."""

    @kernel
    def solve(
        diag: Any,
        off_diag: Any,
        first: int,
        count: int,
        eigenvalues: Any,
        eigenvectors: Any,
        gaps: Any,
    ) -> None:
        """Solve for eigenpairs first ... first + count - 1 of every matrix.

        eigenvalues (M, count); eigenvectors (M * count, n), or None; gaps (M, count), written if it holds any, or None.
        Without eigenvectors and gaps what finds them is not compiled either, which halves the time until a first
        prediction. Matrices whose indices are not all proved at the first go wait until they fill a tile, or for the
        end: hard ones then cost easy ones nothing.
        """
        if sources < 0:  # only so that the digest is captured
            return
        total, n = diag.shape
        if n == 1:
            _solve_scalars(diag, first, count, eigenvalues, eigenvectors)
            return
        rows = -(-n // BLOCK) * BLOCK
        buffer = aligned_rows(6 if eigenvectors is None else 14, rows)
        small = aligned_rows(1, SMALL_ROWS)[0]
        window_values = np.empty((LANES_F32, count))
        middles = aligned_rows(1, count)[0]
        middle_of = middles.reshape(-1).view(np.float32).reshape(count, LANES_F32)
        matrices = np.empty(LANES_F32, np.int64)
        targets = np.empty(LANES_F32, np.int64)
        waiting = np.empty(2 * LANES_F32, np.int64)
        waiting_middles = np.empty((2 * LANES_F32, count), np.float32)
        waiting_count = 0
        start = 0
        while start < total or waiting_count > 0:
            again = start >= total or waiting_count >= LANES_F32
            if again:
                used = min(LANES_F32, waiting_count)
                waiting_count -= used
                for lane in range(LANES_F32):
                    waited = waiting_count + min(lane, used - 1)
                    matrices[lane] = waiting[waited]
                    # By hand, here and below: Numba compiles the checks of an assigned slice for a second.
                    for place in range(count):
                        middle_of[place, lane] = waiting_middles[waited, place]
            else:
                used = min(LANES_F32, total - start)
                for lane in range(LANES_F32):
                    matrices[lane] = start + min(lane, used - 1)
                start += used
            solve_tile(
                diag,
                off_diag,
                matrices,
                used,
                first,
                count,
                again,
                buffer,
                small,
                window_values,
                middles,
                targets,
                eigenvalues,
                eigenvectors,
                gaps,
                start,
            )
            if not again:
                for lane in range(used):
                    if small[MARKS + lane // LANES_F64, lane % LANES_F64] > 0.0:
                        waiting[waiting_count] = matrices[lane]
                        for place in range(count):
                            waiting_middles[waiting_count, place] = middle_of[place, lane]
                        waiting_count += 1

    return solve


@part
def _solve_scalars(diag: Any, first: int, count: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """Solve matrices of order one, which are their own eigenvalues."""
    for matrix in range(diag.shape[0]):
        for place in range(count):
            if first + place == 0:
                poison = diag[matrix, 0] * 0.0
                eigenvalues[matrix, place] = diag[matrix, 0] + poison
                if eigenvectors is not None:
                    eigenvectors[matrix * count + place, 0] = 1.0 + poison
            else:
                write_beyond(matrix, count, place, first + place < 0, eigenvalues, eigenvectors)


_kernel = _cached(source_digest(*SOLVER_SOURCES))


def _frozen(array: Any) -> Any:
    """Return a view that kernels may not write to: to Numba a read-only array is another type, which would be
    compiled for seconds when the first one comes.
    """
    array = array.view()
    array.setflags(False)
    return array


def _solve(diag: Any, off_diag: Any, *rest: Any) -> None:
    _kernel(_frozen(diag), _frozen(off_diag), *rest)


@part
def solve_batch(diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """Do what `solve_eigenpairs` does, for kernels that solve batches themselves."""
    # As from Python, so that the same code serves; its types would differ, and take two seconds more to compile.
    diag, off_diag = as_read_only(diag), as_read_only(off_diag)
    _kernel(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), eigenvectors, np.empty((0, 0)))


def solve_eigenvalues(diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any) -> None:
    """Write eigenvalue `eig_idx` of every matrix to eigenvalues (M,)."""
    _solve(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), None, None)


def solve_eigenpairs(diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """Write eigenpair `eig_idx` of every matrix to eigenvalues (M,) and eigenvectors (M, n)."""
    _solve(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), eigenvectors, _NONE)


def solve_eigenpairs_and_gaps(
    diag: Any, off_diag: Any, eig_idx: int, eigenvalues: Any, eigenvectors: Any, gaps: Any
) -> None:
    """Write what `solve_eigenpairs` writes, and to gaps (M,) the distance to the nearest other eigenvalue.

    A gap is within 1/128 of itself, or within a few eps of the matrix's norm where it is that small; of a
    matrix of order one it is infinite. Measured at n = 15: 1.4 times the time of `solve_eigenpairs`; the
    two neighbours' eigenvalues would make it 2.4 times.
    """
    gaps[:] = np.inf
    own = gaps.reshape(-1, 1) if diag.shape[1] > 1 else _NONE
    _solve(diag, off_diag, eig_idx, 1, eigenvalues.reshape(-1, 1), eigenvectors, own)
    # Counts cannot separate neighbours where the whole spectrum is narrow relative to the matrix: there solve for them.
    narrow = _narrow(_frozen(diag), gaps)
    if narrow.size:
        neighbour, found = np.empty(narrow.size), np.full(narrow.size, np.inf)
        for place in (eig_idx - 1, eig_idx + 1):
            if 0 <= place < diag.shape[1]:
                solve_eigenvalues(diag[narrow], off_diag[narrow], place, neighbour)
                found = np.minimum(found, np.abs(neighbour - eigenvalues[narrow]))
        gaps[narrow] = found


@kernel
def _narrow(diag: Any, gaps: Any) -> Any:
    """Find narrow gaps. NumPy's own way, with an array of the absolute values, took a tenth of an explanation."""
    found = np.empty(len(gaps), np.intp)
    count = 0
    for j in range(len(gaps)):
        narrow = False
        for i in range(diag.shape[1]):
            narrow |= gaps[j] < NARROW_GAP * abs(diag[j, i])
        if narrow:
            found[count] = j
            count += 1
    return found[:count]


def solve_window(diag: Any, off_diag: Any, eig_idx: int, window: int, eigenvalues: Any, eigenvectors: Any) -> None:
    """Write the pairs around `eig_idx` to eigenvalues (M, 2 window + 1) and eigenvectors (M, 2 window + 1, n).

    Places beyond the spectrum hold -inf or +inf and zero vectors.
    """
    vectors = eigenvectors.reshape(-1, diag.shape[1])
    _solve(diag, off_diag, eig_idx - window, 2 * window + 1, eigenvalues, vectors, _NONE)


_NONE = np.empty((0, 0))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache: small calls that touch every path."""
    diag = np.array([[1.0, 2.0]])
    off_diag = np.array([[0.5]])
    solve_eigenvalues(diag, off_diag, 0, np.empty(1))
    solve_window(diag, off_diag, 0, 1, np.empty((1, 3)), np.empty((1, 3, 2)))
    solve_eigenpairs_and_gaps(diag, off_diag, 0, np.empty(1), np.empty((1, 2)), np.empty(1))
