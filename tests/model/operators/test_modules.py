"""Curvature of modules: against dense Hessians and Fisher matrices, for parts of parameters and any batches."""

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from eigenserve.operators import FisherOperator, GaussNewtonOperator, HessianOperator, lanczos  # noqa: E402
from eigenserve.torch import SpectralLayer  # noqa: E402

CLASSES = 3


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.layer2 = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.layer2(torch.tanh(self.norm(self.layer1(x))).flatten(1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.1, batch_first=True)
        self.layer2 = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.layer2(self.layer1(x).mean(1))


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = SpectralLayer(3, 4, 3), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.layer2(self.layer1(x))


SHAPES = {Convolutional: (1, 4, 4), Attention: (3, 4), Spectral: (3,)}


def case(kind, count=10):
    torch.manual_seed(0)
    module = kind().double().eval()
    x = torch.randn(count, *SHAPES[kind], dtype=torch.float64)
    return module, x, torch.randint(0, CLASSES, (count,))


def by_rows(operator):
    return operator.matmat(torch.eye(operator.size, dtype=operator.dtype))


def dense_hessian(module, names, loss):
    """By torch's own Hessian of the loss of everything at once."""
    start = [dict(module.named_parameters())[name].detach() for name in names]
    sizes = [p.numel() for p in start]

    def total(vector):
        parts = [part.view(p.shape) for part, p in zip(vector.split(sizes), start, strict=True)]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return loss(lambda x: torch.func.functional_call(module, dict(zip(names, parts, strict=True)), (x,)))

    return torch.autograd.functional.hessian(total, torch.cat([p.flatten() for p in start]))


@pytest.mark.parametrize("kind", SHAPES)
def test_the_hessian_of_chosen_parameters_is_that_of_the_mean_over_all_rows(kind):
    module, x, y = case(kind)
    loss = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)  # batches of 4, 4 and 2
    operator = HessianOperator.from_module(module, loss, loader, parameters="layer2*")
    truth = dense_hessian(module, ["layer2.weight", "layer2.bias"], lambda f: loss(f(x), y))
    torch.testing.assert_close(by_rows(operator), truth, rtol=1e-9, atol=1e-10)
    everything = HessianOperator.from_module(module, loss, [(x, y)])
    assert everything.size == sum(p.numel() for p in module.parameters())
    truth = dense_hessian(module, [name for name, _ in module.named_parameters()], lambda f: loss(f(x), y))
    torch.testing.assert_close(by_rows(everything), truth, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", SHAPES)
def test_gauss_newton_is_the_mean_of_jacobians_about_the_losss_hessian(kind):
    module, x, y = case(kind)
    loss = nn.CrossEntropyLoss(reduction="sum")
    operator = GaussNewtonOperator.from_module(module, loss, [(x[:6], y[:6]), (x[6:], y[6:])], parameters="layer1*")
    names = [name for name in dict(module.named_parameters()) if name.startswith("layer1")]
    start = [dict(module.named_parameters())[name].detach() for name in names]

    def outputs(vector):
        parts = vector.split([p.numel() for p in start])
        values = {n: part.view(p.shape) for n, part, p in zip(names, parts, start, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return torch.func.functional_call(module, values, (x,))

    vector = torch.cat([p.flatten() for p in start])
    jacobian = torch.autograd.functional.jacobian(outputs, vector)
    chance = outputs(vector).softmax(1)
    bend = torch.diag_embed(chance) - chance[:, :, None] * chance[:, None]
    truth = torch.einsum("bop,boq,bqr->pr", jacobian, bend, jacobian)
    torch.testing.assert_close(by_rows(operator), truth, rtol=1e-9, atol=1e-10)


def row_gradients(module, loss, x, y):
    rows = []
    for i in range(len(x)):
        module.zero_grad()
        loss(module(x[i : i + 1]), y[i : i + 1]).backward()
        rows.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    return torch.stack(rows)


def test_the_empirical_fisher_matrix_is_that_of_single_gradients():
    module, x, y = case(Convolutional)
    loss = nn.CrossEntropyLoss()
    operator = FisherOperator.from_module(module, loss, DataLoader(TensorDataset(x, y), batch_size=4))
    rows = row_gradients(module, loss, x, y)
    torch.testing.assert_close(by_rows(operator), rows.T @ rows / 10, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["cross entropy", "squares", "binary"])
def test_the_monte_carlo_fisher_matrix_tends_to_gauss_newton(name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x = torch.randn(6, 2, dtype=torch.float64)
    loss, y = {
        "cross entropy": (nn.CrossEntropyLoss(), torch.zeros(6, dtype=torch.long)),
        "squares": (nn.MSELoss(), torch.zeros(6, 2, dtype=torch.float64)),
        "binary": (nn.BCEWithLogitsLoss(), torch.zeros(6, 2, dtype=torch.float64)),
    }[name]
    truth = by_rows(GaussNewtonOperator.from_module(module, loss, [(x, y)]))
    # The same rows many times over have the same Gauss-Newton matrix, and as many draws.
    many = [(x.repeat(1000, 1), y.repeat(1000, *[1] * (y.ndim - 1)))]
    operator = FisherOperator.from_module(module, loss, many, kind="monte-carlo", samples=2, seed=1)
    # 12,000 draws: one part in a hundred, several deviations of it here.
    assert float(torch.linalg.norm(by_rows(operator) - truth) / torch.linalg.norm(truth)) < 0.06
    once = FisherOperator.from_module(module, loss, [(x, y)], kind="monte-carlo", seed=1)
    assert torch.equal(by_rows(once), by_rows(once))


def test_eigenvectors_come_back_as_tensors_of_the_module():
    module, x, y = case(Spectral)
    operator = HessianOperator.from_module(module, nn.CrossEntropyLoss(), [(x, y)], parameters=["layer1*", "*bias"])
    found = lanczos(operator, 2, tol=1e-8)
    parts = operator.split(found.eigenvectors[0])
    assert {name: part.shape for name, part in parts.items()} == {
        "layer1.matrices": (4, 4, 5),
        "layer2.bias": (CLASSES,),
    }


def test_tied_parameters_count_once_and_iterators_are_kept():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    second.weight = first.weight
    module = nn.Sequential(first, nn.Tanh(), second)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    operator = HessianOperator.from_module(module, nn.MSELoss(), iter([(x, y)]), parameters="0.weight")
    start = first.weight.detach().flatten()

    def total(vector):
        weight = vector.view(3, 3)
        return nn.functional.mse_loss(torch.tanh(x @ weight.T + first.bias) @ weight.T + second.bias, y)

    truth = torch.autograd.functional.hessian(total, start)
    torch.testing.assert_close(by_rows(operator), truth, rtol=1e-9, atol=1e-12)


def test_a_module_keeps_its_buffers_and_gradients():
    module, x, y = case(Convolutional)
    module.train()
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    operator = HessianOperator.from_module(module, nn.CrossEntropyLoss(), [(x, y)])
    operator.matvec(torch.ones(operator.size, dtype=torch.float64))
    assert all(torch.equal(before[name], buffer) for name, buffer in module.named_buffers())
    assert all(p.grad is None for p in module.parameters())


def test_inputs_may_be_named_or_many():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.3, 0.5], dtype=torch.float64))

        def forward(self, a, b):
            return torch.tanh(a * self.weight[0] + b * self.weight[1])

    a, b = torch.randn(2, 7, dtype=torch.float64)
    y = torch.zeros(7, dtype=torch.float64)
    made = [
        by_rows(HessianOperator.from_module(Two(), nn.MSELoss(), [(inputs, y)]))
        for inputs in ((a, b), [a, b], {"a": a, "b": b})
    ]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
    assert math.isfinite(float(made[0].sum()))


class Random(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(3, CLASSES), change

    def forward(self, x):
        return {"scores": [self.linear(self.change(x, self.training))]}


@pytest.mark.parametrize(
    "change",
    [
        lambda x, training: nn.functional.dropout(x, 0.5, training),
        lambda x, training: nn.functional.rrelu(x, training=training),
        lambda x, training: x + 0.01 * torch.randn_like(x) if training else x,
    ],
    ids=["dropout", "rrelu", "noise"],
)
def test_functions_that_are_random_in_training_mode_are_refused(change):
    torch.manual_seed(0)
    x, y = torch.randn(8, 3), torch.randint(0, CLASSES, (8,))

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs["scores"][0], targets)

    module = Random(change)
    for make in (HessianOperator, GaussNewtonOperator, FisherOperator):
        with pytest.raises(ValueError, match=r"two evaluations of the module.*differ.*call module.eval\(\) first"):
            make.from_module(module, loss, [(x, y)])
    operator = HessianOperator.from_module(module.eval(), loss, [(x, y)])
    vector = torch.ones(operator.size)
    assert torch.equal(operator.matvec(vector), operator.matvec(vector))


MAKERS = {
    "hessian": HessianOperator.from_module,
    "gauss-newton": GaussNewtonOperator.from_module,
    "fisher": FisherOperator.from_module,
    "drawn fisher": lambda *args: FisherOperator.from_module(*args, kind="monte-carlo"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_products_are_taken_where_gradients_are_off(name):
    module, x, y = case(Spectral)
    arguments = (module, nn.CrossEntropyLoss(), [(x, y)])
    truth = by_rows(MAKERS[name](*arguments))
    with torch.no_grad():
        operator = MAKERS[name](*arguments)
        found = lanczos(operator, 1)
        assert torch.equal(by_rows(operator), truth)
        assert not operator.matvec(truth[0]).requires_grad
    assert found.converged.all()
    with torch.inference_mode():
        for wrong in (lambda: lanczos(operator, 1), lambda: MAKERS[name](*arguments)):
            with pytest.raises(RuntimeError, match=r"products need gradients.*inference_mode.*use torch.no_grad\(\)"):
                wrong()


def test_mistakes_are_named():
    module, x, y = case(Attention)
    loss = nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match=r"no parameter matches 'head\*'; the module has layer1"):
        HessianOperator.from_module(module, loss, [(x, y)], parameters="head*")
    with pytest.raises(ValueError, match="the loader must hold rows; got none"):
        HessianOperator.from_module(module, loss, [])
    with pytest.raises(ValueError, match=r"must be a pair \(inputs, targets\); got Tensor"):
        HessianOperator.from_module(module, loss, [x])
    with pytest.raises(ValueError, match="the loss NLLLoss needs a sampler"):
        FisherOperator.from_module(module, nn.NLLLoss(), [(x, y)], kind="monte-carlo")
    with pytest.raises(ValueError, match="kind must be empirical or monte-carlo; got 'exact'"):
        FisherOperator.from_module(module, loss, [(x, y)], kind="exact")
    module.train()
    with pytest.raises(ValueError, match=r"drops entries at random in training mode.*call module.eval\(\) first"):
        HessianOperator.from_module(module, loss, [(x, y)])
