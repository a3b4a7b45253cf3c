"""Check that this machine's GPU solves as the CPU does: `python -m eigenserve.model.eigensolvers.gpu_check`."""

import sys
import time
from typing import Any

import numpy as np

from eigenserve.model.eigensolvers.api import eigh_tridiagonal

MATRICES, DIM = 200_000, 15
#: Both solvers promise 8 eps ||T||; the norm of these matrices is below 16.
TOLERANCE = 16 * 16 * float(np.finfo(np.float64).eps)


def main() -> int:
    """Solve the same random matrices on both and print how far apart they are; 1 if too far, 2 without a GPU."""
    generator = np.random.default_rng(0)
    diag = generator.normal(size=(MATRICES, DIM))
    off_diag = generator.normal(size=(MATRICES, DIM - 1))

    def solve(backend: Any) -> tuple[Any, float]:
        eigh_tridiagonal(diag[:1], off_diag[:1], eig_idx=DIM // 2, backend=backend)  # compiles
        started = time.perf_counter()
        found = eigh_tridiagonal(diag, off_diag, eig_idx=DIM // 2, backend=backend)
        return found, time.perf_counter() - started

    try:
        on_gpu, gpu_s = solve("triton")
    except (ValueError, RuntimeError) as error:
        print(f"error: no usable GPU: {error}", file=sys.stderr)
        return 2
    on_cpu, cpu_s = solve("numba")
    apart = float(np.abs(on_gpu.eigenvalues - on_cpu.eigenvalues).max())
    print(f"{MATRICES:,} eigenpairs of {DIM} x {DIM}: GPU {gpu_s:.3f} s with transfers, CPU {cpu_s:.3f} s")
    print(f"largest difference of eigenvalues {apart:.1e}, at most {TOLERANCE:.1e} is right")
    return 0 if apart <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
