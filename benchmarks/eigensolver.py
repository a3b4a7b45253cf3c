"""The eigensolvers against SciPy, dense torch and JAX: time, ratio, error, share of the machine's limit."""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from scipy.linalg import eigh_tridiagonal as scipy_pair
from scipy.linalg import eigvalsh_tridiagonal as scipy_value

from benchmarks.timing import interleaved
from eigenserve.model.eigensolvers import eigh_tridiagonal, eigvalsh_tridiagonal, warm_up
from eigenserve.model.eigensolvers.tiles.eigenvalues import COARSE_STEPS, NEWTON_STEPS
from eigenserve.model.eigensolvers.tiles.tile import aligned_rows
from eigenserve.model.kernels.lanes import LANES_F32, LANES_F64, load, store
from eigenserve.model.kernels.threads import for_ranges, num_threads, set_num_threads

ORDERS = (5, 15, 45, 100, 1000)
BATCHES = (1, 64, 4096, 65536)
LARGEST_BYTES = 2**30  # a benchmark should fit next to other work: inputs beyond this are left out
PEER_S = 0.2  # time given to a peer per round: slow ones solve a part of the batch


def run(quick: bool = False) -> None:
    warm_up()
    rounds = 5 if quick else 11
    print(f"Eigensolvers, middle eigenvalue, float64, normal random entries, {num_threads()} threads, medians")
    header = f"{'n':>5} {'batch':>6} {'what':>7} {'us/matrix':>10} {'x SciPy':>8} {'x JAX':>7} {'x dense':>8}"
    print(header + f" {'error':>10} {'of limit':>9}")
    rate = vector_instructions_per_second()
    for n in (15, 100) if quick else ORDERS:
        for batch in (1, 4096) if quick else BATCHES:
            if 16 * n * batch <= LARGEST_BYTES:
                _rows(n, batch, rounds, rate)
    _threads_and_orders(rounds)
    if importlib.util.find_spec("torch"):
        _autograd(rounds)


def _rows(n: int, batch: int, rounds: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    diag, off_diag = rng.standard_normal((batch, n)), rng.standard_normal((batch, n - 1))
    k = n // 2
    part = min(batch, max(1, int(PEER_S / (1e-5 + 5e-7 * n))))
    index = (k, k)
    rivals: dict[str, Callable[[], Any]] = {
        "value": lambda: eigvalsh_tridiagonal(diag, off_diag, eig_idx=k),
        "pair": lambda: eigh_tridiagonal(diag, off_diag, eig_idx=k),
        "scipy value": lambda: [
            scipy_value(d, e, select="i", select_range=index) for d, e in zip(diag[:part], off_diag[:part], strict=True)
        ],
        "scipy pair": lambda: [
            scipy_pair(d, e, select="i", select_range=index) for d, e in zip(diag[:part], off_diag[:part], strict=True)
        ],
    }
    sizes = {"value": batch, "pair": batch, "scipy value": part, "scipy pair": part}
    dense_part = min(batch, max(1, int(PEER_S / (2e-9 * n**3))))
    rivals |= _dense_rival(diag[:dense_part], off_diag[:dense_part]) | _jax_rival(diag, off_diag, k)
    sizes |= {"dense": dense_part, "jax": batch}
    times = interleaved(rivals, rounds if n < 1000 and batch < 65536 else 3)
    per_matrix = {name: seconds / sizes[name] for name, seconds in times.items()}
    value, pair = rivals["value"](), rivals["pair"]()
    truth = np.array([scipy_value(d, e, select="a")[k] for d, e in zip(diag[:20], off_diag[:20], strict=True)])
    scale = np.finfo(float).eps * np.abs(diag[:20]).max(1)
    error = {"value": np.abs(value[:20] - truth) / scale, "pair": _residual(diag, off_diag, pair) / scale}
    # Vector instructions per row and matrix: a count has three and a sign, a Newton step eight, a
    # factorisation two divisions and some twenty others in each of its passes; more than the first is not
    # counted for pairs.
    instructions = n * (4 * COARSE_STEPS / (LANES_F32 / 2) + (8 * NEWTON_STEPS + 2 * 4) / (LANES_F64 / 2))
    for what in ("value", "pair"):
        ratio = {peer: per_matrix.get(peer, np.nan) / per_matrix[what] for peer in ("jax", "dense")}
        print(
            f"{n:>5} {batch:>6} {what:>7} {per_matrix[what] * 1e6:>10.3f}"
            f" {per_matrix['scipy ' + what] / per_matrix[what]:>8.1f}"
            f" {ratio['jax'] if what == 'value' else np.nan:>7.1f} {ratio['dense']:>8.0f}"
            f" {error[what].max():>6.2f} eps {100 * instructions / rate / per_matrix[what]:>7.0f} %",
            flush=True,
        )


def _residual(diag: Any, off_diag: Any, pair: Any) -> Any:
    d, e, v = diag[:20], off_diag[:20], pair.eigenvectors[:20, 0]
    rest = (d - pair.eigenvalues[:20]) * v
    rest[:, :-1] += e * v[:, 1:]
    rest[:, 1:] += e * v[:, :-1]
    return np.sqrt((rest**2).sum(1))


def _dense_rival(diag: Any, off_diag: Any) -> dict[str, Callable[[], Any]]:
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch

    torch.set_num_threads(num_threads())
    d, e = torch.from_numpy(diag), torch.from_numpy(off_diag)
    dense = torch.diag_embed(d) + torch.diag_embed(e, 1) + torch.diag_embed(e, -1)
    return {"dense": lambda: torch.linalg.eigvalsh(dense)}


def _jax_rival(diag: Any, off_diag: Any, k: int) -> dict[str, Callable[[], Any]]:
    if importlib.util.find_spec("jax") is None:
        return {}
    import jax

    jax.config.update("jax_enable_x64", True)
    solve = jax.jit(
        jax.vmap(
            lambda d, e: jax.scipy.linalg.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(k, k))
        )
    )
    d, e = jax.numpy.asarray(diag), jax.numpy.asarray(off_diag)
    return {"jax": lambda: solve(d, e).block_until_ready()}


def _threads_and_orders(rounds: int) -> None:
    rng = np.random.default_rng(0)
    all_threads = num_threads()

    def solver(count: int, n: int, threads: int) -> Callable[[], Any]:
        diag, off_diag = rng.standard_normal((count, n)), rng.standard_normal((count, n - 1))

        def solve() -> None:
            set_num_threads(threads)
            eigvalsh_tridiagonal(diag, off_diag, eig_idx=n // 2)

        return solve

    print("\nEigenvalues, n = 100, batch 4096: threads (x one thread). Then one thread, us per matrix and row")
    counts = sorted({1, all_threads})
    times = interleaved({str(t): solver(4096, 100, t) for t in counts}, rounds)
    print("  ".join(f"{t} threads: x{times['1'] / times[str(t)]:.2f}" for t in counts))
    sizes = {100: 4096, 300: 1024, 1000: 512, 3000: 128, 10000: 64}
    times = interleaved({str(n): solver(count, n, 1) for n, count in sizes.items()}, rounds)
    print("  ".join(f"n = {n}: {times[str(n)] / count / n * 1e6:.5f}" for n, count in sizes.items()))
    set_num_threads(all_threads)


def _autograd(rounds: int) -> None:
    import torch

    from eigenserve.model.autograd import eigvalsh_tridiagonal as differentiable

    class ThroughSciPy(torch.autograd.Function):
        """A SciPy call per matrix inside autograd, as the spectral-neuron article's."""

        @staticmethod
        def forward(ctx: Any, d: Any, e: Any, k: int) -> Any:
            pairs = [
                scipy_pair(a, b, select="i", select_range=(k, k)) for a, b in zip(d.numpy(), e.numpy(), strict=True)
            ]
            ctx.v = torch.from_numpy(np.stack([v[:, 0] for _, v in pairs]))
            return torch.from_numpy(np.array([w[0] for w, _ in pairs]))

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            g = grads[0][:, None]
            return g * ctx.v**2, 2 * g * ctx.v[:, 1:] * ctx.v[:, :-1], None

    print("\nForward and backward through autograd (us per batch, x SciPy inside autograd)")
    for n, batch in ((15, 50), (15, 4096), (100, 50), (100, 4096)):
        generator = torch.Generator().manual_seed(0)
        d, e = (torch.randn(batch, m, dtype=torch.float64, generator=generator).requires_grad_() for m in (n, n - 1))
        times = interleaved(
            {
                "ours": lambda d=d, e=e, n=n: torch.autograd.grad(differentiable(d, e, eig_idx=n // 2).sum(), (d, e)),
                "scipy": lambda d=d, e=e, n=n: torch.autograd.grad(ThroughSciPy.apply(d, e, n // 2).sum(), (d, e)),
            },
            max(3, rounds // 2),
        )
        print(f"n = {n}, batch {batch}: {times['ours'] * 1e6:.0f} us, x{times['scipy'] / times['ours']:.0f}")


CHAINS = 10  # of two registers each: half of them fused multiply-adds, half additions


@njit(nogil=True)
def _independent_chains(rows: Any, rounds: int) -> None:
    """More chains than the machine's vector units can take at once."""
    m = load(rows, 0)
    a, b, c, d, e = load(rows, 1), load(rows, 2), load(rows, 3), load(rows, 4), load(rows, 5)
    p, q, r, s, t = load(rows, 6), load(rows, 7), load(rows, 8), load(rows, 9), load(rows, 10)
    for _ in range(rounds):
        a, b, c, d, e = a * m + m, b * m + m, c * m + m, d * m + m, e * m + m
        p, q, r, s, t = p + m, q + m, r + m, s + m, t + m
    store(rows, 1, a + b + c + d + e + p + q + r + s + t)


def vector_instructions_per_second() -> float:
    """Measured: 512-bit additions and fused multiply-adds per second of all threads at once.

    Threads may be two of one core, which shares its vector units between them: then twice one thread's is not theirs.
    """
    threads = num_threads()
    rows = [aligned_rows(1, CHAINS + 1)[0] for _ in range(threads)]
    rounds = 1_000_000

    def chains() -> None:
        for own in rows:
            own[:] = 0.5
        for_ranges(threads, 1, lambda start, stop: [_independent_chains(own, rounds) for own in rows[start:stop]])

    return 2 * CHAINS * rounds * threads / interleaved({"chains": chains}, 11)["chains"]
