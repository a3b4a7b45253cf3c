"""Dispatch modes see the layers' operators: graphs of make_fx, fake tensors, counters."""

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from eigenserve.torch import (  # noqa: E402
    SpectralEnsemble,
    SpectralLayer,
    eigh_tridiagonal,
    eigvalsh_tridiagonal,
    smoothed_eigvalsh_tridiagonal,
)


class Seen(TorchDispatchMode):
    """Keep the names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def slope(module, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(module(x).sum(), x)[0]


LAYER = SpectralLayer(3, 2, 5, dtype=torch.float64)
FUNCTIONS = {
    "layer": LAYER,
    "smoothed layer": SpectralLayer(3, 2, 5, smoothing=0.1, dtype=torch.float64),
    "ensemble": SpectralEnsemble(3, 1, 5, dtype=torch.float64),
    "eigenvalue": lambda x: eigvalsh_tridiagonal(x, x[:, 1:], eig_idx=1),
    "eigenpairs": lambda x: eigh_tridiagonal(x, x[:, 1:], eig_idx=1, window=1).eigenvalues,
    "smoothed eigenvalue": lambda x: smoothed_eigvalsh_tridiagonal(x, x[:, 1:], eig_idx=1, smoothing=0.1),
}


@pytest.mark.parametrize("options", [{}, {"pre_dispatch": True}, {"tracing_mode": "symbolic"}], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_graph_of_make_fx_computes_its_inputs_eigenvalues(name, options):
    torch.manual_seed(0)
    x, other = torch.randn(2, 4, 3, dtype=torch.float64)
    graph = make_fx(FUNCTIONS[name], _allow_non_fake_inputs=True, **options)(other)
    torch.testing.assert_close(graph(x), FUNCTIONS[name](x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["real", "symbolic"])  # graphs before dispatch hold no module's gradient
def test_a_graph_of_make_fx_computes_its_inputs_gradients(mode):
    x, other = torch.randn(2, 4, 3, dtype=torch.float64)
    graph = make_fx(lambda z: slope(LAYER, z), tracing_mode=mode, _allow_non_fake_inputs=True)(other)
    torch.testing.assert_close(graph(x), slope(LAYER, x), rtol=1e-12, atol=1e-12)


def test_a_mode_sees_the_operators_that_run_forward_and_backward():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    before = LAYER(x)
    with Seen() as seen:
        inside = LAYER(x)
        (grad,) = torch.autograd.grad(before.sum(), x)
    assert "eigenserve::affine_eigenpairs" in seen.names
    assert torch.equal(inside, before)
    torch.testing.assert_close(grad, slope(LAYER, x), rtol=1e-12, atol=1e-12)


def test_fake_tensors_give_shapes_alone():
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert LAYER(mode.from_tensor(torch.zeros(7, 3, dtype=torch.float64))).shape == (7, 2)
