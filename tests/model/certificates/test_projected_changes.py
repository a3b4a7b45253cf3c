"""Largest eigenvalues of projected matrices, against dense ones."""

import numpy as np
import pytest
from tests.support.twin import dense

from eigenserve.model.certificates.projected_changes import largest_projected


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (2, 2), (6, 3), (7, 1), (15, 8), (15, 15)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_projected_matrices_have_the_largest_eigenvalues_of_dense_ones(n, m, sign, scale):
    rng = np.random.default_rng(n + m)
    diag, off_diag = scale * rng.normal(size=(40, 3, n)), scale * rng.normal(size=(40, 3, n - 1))
    diag[0], off_diag[0] = 0.0, 0.0
    off_diag[1] = 0.0
    bases = np.ascontiguousarray(np.linalg.qr(rng.normal(size=(3, n, n)))[0][:, :, :m])
    shifts = scale * rng.normal(size=(3, m))
    full = sign * np.einsum("hia,phij,hjb->phab", bases, dense(diag, off_diag), bases) + shifts[:, :, None] * np.eye(m)
    found = largest_projected(diag, off_diag, bases, shifts, sign)
    # Both are right to a few n eps of the norm, which is about 10 scales here.
    np.testing.assert_allclose(found, np.linalg.eigvalsh(full)[..., -1], rtol=0, atol=1e-13 * scale)


def test_no_points_give_no_values():
    found = largest_projected(np.empty((0, 2, 3)), np.empty((0, 2, 2)), np.zeros((2, 3, 2)), np.zeros((2, 2)), 1.0)
    assert found.shape == (0, 2)
