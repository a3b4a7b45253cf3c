"""Hessians of modules against hessian-eigenthings and curvlinops: the same eigenpairs from no more products."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
eigenthings = pytest.importorskip(
    "hessian_eigenthings", reason="needs hessian-eigenthings: pip install --pre hessian-eigenthings==1.0.0a5"
)
curvlinops = pytest.importorskip("curvlinops", reason="needs curvlinops-for-pytorch")

from torch import nn  # noqa: E402

from eigenserve.operators import (  # noqa: E402
    CallableOperator,
    FisherOperator,
    GaussNewtonOperator,
    HessianOperator,
    from_curvlinops,
    lanczos,
    to_curvlinops,
)

# The other libraries transform functions, for which torch still scripts its decompositions.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = nn.Conv2d(1, 3, 3), nn.Linear(12, 3)

    def forward(self, x):
        return self.layer2(torch.tanh(self.layer1(x)).flatten(1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, activation="gelu", batch_first=True)
        self.layer2 = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer2(self.layer1(x).mean(1))


@pytest.fixture(autouse=True)
def one_thread_of_torch():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[Convolutional, Attention])
def case(request):
    torch.manual_seed(0)
    module = request.param().double()  # in training mode, without dropout: for evaluation torch fuses the encoder
    x = torch.randn(24, *((1, 4, 4) if request.param is Convolutional else (3, 4)), dtype=torch.float64)
    y = torch.randint(0, 3, (24,))
    return module, nn.CrossEntropyLoss(), [(x[:16], y[:16]), (x[16:], y[16:])]


def counted(operator):
    calls = []

    def product(vector):
        calls.append(1)
        return operator.matvec(vector)

    return CallableOperator(product, operator.size, dtype=operator.dtype), calls


def test_top_eigenpairs_are_those_of_hessian_eigenthings_from_no_more_products(case):
    module, loss, data = case
    operator, calls = counted(HessianOperator.from_module(module, loss, data))
    ours = lanczos(operator, 3, 200, tol=1e-8, which="LA", max_basis=200)
    assert ours.converged.all()

    def theirs(steps):
        # Its mean over batches weighs a short last batch more: one batch for it.
        whole = [tuple(torch.cat(side) for side in zip(*data, strict=True))]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            made = eigenthings.HessianOperator(module, whole, eigenthings.supervised_loss(loss))
            return eigenthings.lanczos(made, k=3, max_iter=steps, tol=1e-8, which="LA", reorthogonalize=True, seed=0)

    same = theirs(len(calls))
    np.testing.assert_allclose(ours.eigenvalues, same.eigenvalues, rtol=1e-8)
    overlaps = (ours.eigenvectors @ torch.as_tensor(same.eigenvectors).T).abs()
    torch.testing.assert_close(torch.diagonal(overlaps), torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert not theirs(len(calls) - 2).converged.all()


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton", "empirical"])
def test_products_are_those_of_curvlinops(case, kind):
    module, loss, data = case
    make, theirs = {
        "hessian": (HessianOperator.from_module, curvlinops.HessianLinearOperator),
        "gauss-newton": (GaussNewtonOperator.from_module, curvlinops.GGNLinearOperator),
        "empirical": (FisherOperator.from_module, curvlinops.EFLinearOperator),
    }[kind]
    # Without the weights of LayerNorm: curvlinops 3.0.1 takes forward mode over reverse, which torch 2.13 has wrong
    # there (by finite differences: 5e-2 of theirs, 1e-10 of ours).
    chosen = {name: p for name, p in module.named_parameters() if "norm" not in name}
    ours = make(module, loss, data, parameters=list(chosen))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        reference = theirs(module, loss, list(chosen.values()), data)
        probe = torch.randn(ours.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        truth = reference @ probe
        torch.testing.assert_close(ours.matvec(probe), truth, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(from_curvlinops(reference).matvec(probe), truth)
    torch.testing.assert_close(to_curvlinops(ours) @ probe, ours.matvec(probe))
