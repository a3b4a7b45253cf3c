"""The matrices every solver must get right: name -> order n -> diag (M, n), off_diag (M, n - 1)."""

from collections.abc import Callable

import numpy as np

Matrices = tuple[np.ndarray, np.ndarray]


def random_normal(n: int) -> Matrices:
    rng = np.random.default_rng(n)
    return rng.standard_normal((6, n)), rng.standard_normal((6, n - 1))


def toeplitz(n: int) -> Matrices:
    """Eigenvalues 2 - 2 cos(j pi / (n + 1))."""
    return np.full((1, n), 2.0), np.full((1, n - 1), -1.0)


def clement(n: int) -> Matrices:
    """Eigenvalues -(n - 1), -(n - 3), ..., n - 1."""
    i = np.arange(1.0, n)
    return np.zeros((1, n)), np.sqrt(i * (n - i))[None]


def wilkinson(n: int) -> Matrices:
    """Pairs of eigenvalues that agree to more and more digits."""
    return np.abs(np.arange(n) - (n - 1) / 2)[None], np.ones((1, n - 1))


def glued_wilkinson(n: int) -> Matrices:
    """Blocks of W+ glued by tiny off-diagonals: clusters tighter than rounding."""
    size = max(3, n // 3)
    diag = np.abs(np.arange(n) % size - (size - 1) / 2)
    off_diag = np.ones(n - 1)
    glued = np.stack([off_diag] * 4)
    for row, glue in zip(glued, (1e-14, 1e-11, 1e-7, 1e-4), strict=True):
        row[size - 1 :: size] = glue
    return np.tile(diag, (4, 1)), glued


def legendre(n: int) -> Matrices:
    """Eigenvalues are the nodes of Gauss-Legendre quadrature."""
    i = np.arange(1.0, n)
    return np.zeros((1, n)), (i / np.sqrt(4 * i * i - 1))[None]


def hermite(n: int) -> Matrices:
    return np.zeros((1, n)), np.sqrt(np.arange(1.0, n) / 2)[None]


def laguerre(n: int) -> Matrices:
    return (2 * np.arange(n) + 1.0)[None], np.arange(1.0, n)[None]


def clustered(n: int) -> Matrices:
    """All eigenvalues within 1e-12, 1e-9, 1e-5 of one but for one at ten."""
    rng = np.random.default_rng(n)
    width = np.array([[1e-12], [1e-9], [1e-5]])
    diag = 1 + width * rng.standard_normal((3, n))
    off_diag = width * rng.standard_normal((3, n - 1))
    diag[:, n // 2] = 10.0
    return diag, off_diag


def all_equal(n: int) -> Matrices:
    return np.array([[3.7], [-1e-3], [1.0]]) * np.ones(n), np.zeros((3, n - 1))


def zero(n: int) -> Matrices:
    return np.zeros((1, n)), np.zeros((1, n - 1))


def zero_off_diagonals(n: int) -> Matrices:
    """Diagonal matrices, repeated entries, and matrices that fall into equal blocks."""
    rng = np.random.default_rng(n)
    diag = np.stack([rng.standard_normal(n), np.round(rng.standard_normal(n)), np.arange(n) % 3 + 0.0, np.ones(n)])
    off_diag = np.zeros((4, n - 1))
    off_diag[2] = (np.arange(n - 1) % 3 != 2) * 0.7
    off_diag[3, ::2] = 0.3
    return diag, off_diag


def tiny_off_diagonals(n: int) -> Matrices:
    rng = np.random.default_rng(n)
    size = 10.0 ** -np.array([[8.0], [16], [17], [40], [160], [300]])
    return np.round(rng.standard_normal((6, n))), size * rng.standard_normal((6, n - 1))


def zero_diagonal(n: int) -> Matrices:
    """Spectra symmetric about zero, with exact zero eigenvalues at odd n."""
    rng = np.random.default_rng(n)
    off_diag = rng.standard_normal((4, n - 1))
    off_diag[1, ::2] *= 1e-9
    off_diag[2, 1::2] *= 1e-17
    off_diag[3] = 1.0
    return np.zeros((4, n)), off_diag


def graded(n: int) -> Matrices:
    """Entries from 1e-150 to 1e+150, downward, upward, in both, and only in the off-diagonal."""
    rng = np.random.default_rng(n)
    slope = 10.0 ** np.linspace(150, -150, n)
    sizes = np.stack([slope, slope[::-1], np.maximum(slope, slope[::-1]), np.minimum(slope, slope[::-1])])
    diag, off_diag = sizes * rng.standard_normal((4, n)), rng.standard_normal((4, n - 1))
    off_diag *= np.sqrt(sizes[:, 1:]) * np.sqrt(sizes[:, :-1])
    return diag, off_diag


def mildly_graded(n: int) -> Matrices:
    rng = np.random.default_rng(n)
    slope = 10.0 ** np.linspace(0, -12, n)
    sizes = np.stack([slope, slope[::-1]])
    return sizes * rng.standard_normal((2, n)), sizes[:, 1:] * rng.standard_normal((2, n - 1))


def offset(n: int) -> Matrices:
    """A large multiple of the identity added: the spectrum is narrow for its place."""
    diag, off_diag = random_normal(n)
    return diag + 10.0 ** np.arange(0, 18, 3)[:, None], off_diag


def scaled(factor: float) -> Callable[[int], Matrices]:
    def scaled_normal(n: int) -> Matrices:
        diag, off_diag = random_normal(n)
        return diag * factor, off_diag * factor

    return scaled_normal


def denormal(n: int) -> Matrices:
    rng = np.random.default_rng(n)
    unit = 5e-324
    return unit * rng.integers(-1000, 1000, (4, n)), unit * rng.integers(-1000, 1000, (4, n - 1))


def integer(n: int) -> Matrices:
    """Small integers: exact ties, exact zero minors, eigenvalues at the midpoints of bisection."""
    rng = np.random.default_rng(n)
    return rng.integers(-1, 2, (12, n)) + 0.0, rng.integers(-1, 2, (12, n - 1)) + 0.0


FAMILIES: dict[str, Callable[[int], Matrices]] = {
    family.__name__: family
    for family in (
        random_normal, toeplitz, clement, wilkinson, glued_wilkinson, legendre, hermite, laguerre, clustered,
        all_equal, zero, zero_off_diagonals, tiny_off_diagonals, zero_diagonal, graded, mildly_graded, offset,
        denormal, integer,
    )
} | {"scaled_up": scaled(1e300), "scaled_down": scaled(1e-300)}  # fmt: skip
