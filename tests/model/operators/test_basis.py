"""The Krylov basis: orthogonality, and restarts within its memory."""

import torch

from eigenserve.model.operators.methods.krylov_basis import CHUNK_COLUMNS, KrylovBasis


def _filled(count: int, size: int) -> KrylovBasis:
    basis = KrylovBasis(count, size, torch.float64, torch.device("cpu"))
    draw = torch.randn(size, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    basis.append(torch.linalg.qr(draw).Q.T)
    return basis


def test_a_vector_almost_in_the_basis_keeps_its_orthogonal_part():
    basis = _filled(6, 50)
    outside = torch.linalg.qr(torch.cat([basis.vectors, torch.ones(1, 50, dtype=torch.float64)]).T).Q[:, -1]
    # One pass leaves eps / 1e-10 = 2e-6 of the basis in the result; two leave rounding.
    result = basis.orthogonalize(basis.vectors[2] + 1e-10 * outside)
    direction = result / torch.linalg.vector_norm(result)
    assert float((basis.vectors @ direction).abs().max()) < 1e-14


def test_compressing_in_place_equals_combining():
    basis = _filled(5, 2 * CHUNK_COLUMNS + 3)  # whole chunks and a rest
    weights = torch.linalg.qr(torch.vander(torch.linspace(-1, 1, 5, dtype=torch.float64))).Q[:3]
    expected = basis.combine(weights)
    memory = basis.vectors.data_ptr()
    basis.compress(weights)
    torch.testing.assert_close(basis.vectors, expected, rtol=0, atol=1e-15)
    assert basis.vectors.data_ptr() == memory
    assert basis.count == 3
