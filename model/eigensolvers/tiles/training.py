"""Find one float32 eigenpair per lane, for compiled training loops that build their matrices in tiles.

Layout. A tile holds TRAINING_LANES matrices, one per lane: arrays are C-contiguous float32 (rows,
TRAINING_LANES) with rows = padded_rows(n). Row i of `e` couples rows i - 1 and i of the matrix; row 0 of
`e` is ignored. Rows n ... rows - 1 need not be set: the solver works on its own scaled copy. Start arrays
on a 64-byte boundary (`aligned_tile`), or every load costs two. Lanes that hold no matrix must hold finite
numbers; zeros will do.
"""

from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.tiles.eigenvalues import bisect_coarse
from eigenserve.model.eigensolvers.tiles.sturm import BLOCK
from eigenserve.model.eigensolvers.tiles.tile import FLOOR_F32, PAD_F32
from eigenserve.model.eigensolvers.tiles.twisted import twisted_vector
from eigenserve.model.kernels.compiled import part
from eigenserve.model.kernels.lanes import (
    ALIGNMENT,
    LANES_F32,
    absolute,
    fill,
    larger,
    load,
    rows_of,
    smaller,
    square_root,
    store,
)

TRAINING_LANES = LANES_F32
SCRATCH_TILES = 8  # tiles of scratch that `training_eigenpairs_tile` needs
_TINY_PIVOT = 2.0**-54
_HUGE_NORM = 2.0**80
_REACH = 2.0**-18  # the Rayleigh correction may not leave the bracket of the bisection and its rounding


def padded_rows(n: int) -> int:
    """Round up to whole blocks of the Sturm count: the rows of a tile for n x n matrices."""
    return -(-n // BLOCK) * BLOCK


_padded_rows = part(padded_rows)


def aligned_tile(tiles: int, rows: int) -> Any:
    """Allocate zeroed float32 (tiles, rows, TRAINING_LANES) on a cache-line boundary."""
    size = tiles * rows * TRAINING_LANES
    raw = np.zeros(size + ALIGNMENT // 4, np.float32)
    start = (-raw.ctypes.data % ALIGNMENT) // 4
    return raw[start : start + size].reshape(tiles, rows, TRAINING_LANES)


@part
def training_eigenpairs_tile(d: Any, e: Any, n: int, eig_idx: int, scratch: Any, lam: Any, v: Any) -> None:
    """Find eigenvalue `eig_idx` and its unit eigenvector in every lane.

    d, e, v (rows, TRAINING_LANES), scratch (SCRATCH_TILES, rows, TRAINING_LANES), lam (1, TRAINING_LANES),
    all float32; writes lam and rows 0 ... n - 1 of v. Twenty bits of bisection, a twisted factorisation and
    its Rayleigh correction: the eigenvalue is right to about 1e-6 of the spectrum's width, and its index is
    not checked again, which training does not need. Finite input gives finite output, repeated eigenvalues
    and zero off-diagonals included.
    """
    rows = _padded_rows(n)
    diag, off_diag, squared = rows_of(scratch, 0), rows_of(scratch, rows), rows_of(scratch, 2 * rows)
    like = load(d, 0)
    zero = fill(like, 0.0)
    low = fill(like, np.float32(np.inf))
    high = fill(like, np.float32(-np.inf))
    right = zero
    for i in range(n):
        left = right
        right = absolute(load(e, i + 1)) if i + 1 < n else zero
        radius = left + right
        low = smaller(load(d, i) - radius, low)
        high = larger(load(d, i) + radius, high)
    centre = (low + high) * 0.5
    # Below a millionth of the entries the width is rounding noise; the last term keeps a zero matrix from
    # dividing by zero.
    width = larger((high - low) * 0.5, larger(absolute(centre) * 1e-6, fill(like, 1e-30)))
    stretch = fill(like, 1.0) / width
    store(squared, 0, zero)
    for i in range(n):
        store(diag, i, (load(d, i) - centre) * stretch)
        if i > 0:
            scaled = load(e, i) * stretch
            store(off_diag, i - 1, scaled)
            store(squared, i, larger(scaled * scaled, fill(like, FLOOR_F32)))
    for i in range(n, rows):
        store(diag, i, fill(like, PAD_F32))
        store(squared, i, zero)
    bisect_coarse(diag, squared, eig_idx, rows // BLOCK, lam)
    value = load(lam, 0)
    work = rows_of(scratch, 3 * rows)
    gamma, norm = twisted_vector(diag, off_diag, value, n, _TINY_PIVOT, _HUGE_NORM, work, rows, v)
    correction = smaller(larger(gamma / norm, fill(like, -_REACH)), fill(like, _REACH))
    store(lam, 0, centre + (value + correction) * width)
    unit = fill(like, 1.0) / square_root(norm)
    for i in range(n):
        store(v, i, load(v, i) * unit)
