"""Steps in one graph: the path of torch's Adam, compiled and not, with the module's own parameters."""

import copy
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch import nn  # noqa: E402
from torch.nn.functional import mse_loss  # noqa: E402

from eigenserve.torch import AdamSteps, SpectralLayer, SpectralNeuron  # noqa: E402


def case():
    torch.manual_seed(0)
    x = torch.randn(50, 3, dtype=torch.float64)
    return nn.Sequential(SpectralLayer(3, 2, 4), SpectralNeuron(2, 3)).double(), x, x[:, 0].abs() - x[:, 1]


def by_torch(module, x, y, rates):
    optimizer, losses = torch.optim.Adam(module.parameters()), []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        for rows, target in zip(x.split(16), y.split(16), strict=True):
            optimizer.zero_grad()
            loss = mse_loss(module(rows), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_go_the_way_of_torchs_adam(compiled, monkeypatch):
    # What the graph says, without the minute that machine code takes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    module, x, y = case()
    twin = copy.deepcopy(module)
    steps = AdamSteps(module, mse_loss, batch=16, lr=0.02, compiled=compiled)
    losses = [steps(x, y)]
    steps.lr.fill_(0.005)  # and no other graph for it
    losses.append(steps(x, y))
    # Both are float64; sums are added up in other orders.
    torch.testing.assert_close(torch.cat(losses), by_torch(twin, x, y, (0.02, 0.005)), rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    # The module goes on as any other.
    mse_loss(module(x), y).backward()
    assert all(p.grad is not None for p in module.parameters())


def test_parameters_of_several_types_and_unused_ones_train_in_eager_steps():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    module = nn.Sequential(SpectralLayer(3, 2, 4), SpectralNeuron(2, 3).double())
    module.register_parameter("idle", nn.Parameter(torch.ones(2)))
    before = copy.deepcopy(dict(module.named_parameters()))
    steps = AdamSteps(module, mse_loss, batch=40)
    first, *_, last = (steps(x, x[:, 0].double()) for _ in range(20))
    assert last < first
    moved = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"0.matrices", "1.matrices"}


def test_a_module_that_was_converted_since_is_refused():
    module, x, y = case()
    steps = AdamSteps(module, mse_loss, batch=16)
    steps(x, y)
    module.float()
    with pytest.raises(RuntimeError, match=r"parameter '0.matrices' was moved or converted: make AdamSteps again"):
        steps(x.float(), y.float())


def assign(module):
    module.load_state_dict({name: value.clone() for name, value in module.state_dict().items()}, assign=True)


def replace(module):
    module[0].matrices = nn.Parameter(module[0].matrices.detach().clone())


def exchange(module):
    module[0] = SpectralLayer(3, 2, 4).double()


def remove(module):
    module[0] = nn.Linear(3, 2).double()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("change", [assign, replace, exchange, remove])
def test_a_module_with_other_parameters_is_refused(change, compiled):
    module, x, y = case()
    steps = AdamSteps(module, mse_loss, batch=16, compiled=compiled)
    change(module)
    with pytest.raises(RuntimeError, match=r"parameter '0.matrices' was replaced or removed: make AdamSteps again"):
        steps(x, y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])  # a kernel of ours, and torch's
@pytest.mark.parametrize("compiled", [False, True])
def test_a_graph_made_before_a_step_is_refused_as_after_torchs(compiled, dtype, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    _, x, y = case()
    x, y = x.to(dtype), y.to(dtype)[:, None]
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)).to(dtype)
    steps = AdamSteps(module, mse_loss, batch=16, compiled=compiled)
    inputs = x.clone().requires_grad_()
    out = module(inputs).sum()
    steps(x, y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out, inputs)


def test_a_spectral_layers_graph_made_before_a_step_is_refused():
    module, x, y = case()
    inputs = x.clone().requires_grad_()
    out = module(inputs).sum()
    AdamSteps(module, mse_loss, batch=16)(x, y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out, inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must be at least 0; got -1.0"),
        ({"lr": float("nan")}, "lr must be at least 0; got nan"),
        ({"eps": -1e-8}, "eps must be at least 0; got -1e-08"),
        ({"betas": (0.9, 1.0)}, r"betas must be in \[0, 1\); got \(0.9, 1.0\)"),
        ({"betas": (-0.1, 0.9)}, r"betas must be in \[0, 1\); got \(-0.1, 0.9\)"),
    ],
)
def test_what_torchs_adam_refuses_is_refused(options, message):
    module, _, _ = case()
    with pytest.raises(ValueError, match="Invalid"):
        torch.optim.Adam(module.parameters(), **options)
    with pytest.raises(ValueError, match=message):
        AdamSteps(module, mse_loss, batch=16, **options)


@pytest.mark.parametrize(("rows", "targets"), [(0, 0), (16, 4)])
def test_rows_without_targets_are_refused(rows, targets):
    module, x, y = case()
    with pytest.raises(ValueError, match=f"at least one; got {targets} and {rows}"):
        AdamSteps(module, mse_loss, batch=16)(x[:rows], y[:targets])


def test_what_cannot_be_trained_is_refused():
    module, _, _ = case()
    with pytest.raises(ValueError, match="batch must be at least 1; got 0"):
        AdamSteps(module, mse_loss, batch=0)
    with pytest.raises(ValueError, match="it has none"):
        AdamSteps(module.requires_grad_(False), mse_loss, batch=4)


def test_parameters_that_do_not_train_stay():
    module, x, y = case()
    module[0].requires_grad_(False)
    before = module[0].matrices.clone()
    AdamSteps(module, mse_loss, batch=25, compiled=False)(x, y)
    assert torch.equal(module[0].matrices, before)
