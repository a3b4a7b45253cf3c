"""Monotone inputs: outputs never turn back in any dtype; matrices, pickles and states keep their signs."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from eigenserve.torch import SpectralEnsemble, SpectralLayer, SpectralNeuron, to_model  # noqa: E402


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_monotone_inputs_move_outputs_one_way_only():
    layer = SpectralLayer(3, 2, 6, monotone=[1, -1, 0], dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    x, target = rows(200, 3), rows(200, 2, seed=1)
    for _ in range(20):  # towards noise, which is not monotone
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(x), target).backward()
        optimizer.step()
    for input_, sign in ((0, 1.0), (1, -1.0)):
        entries = sign * layer.matrices[input_].detach().numpy()
        for head in entries:
            full = np.diag(head[:6]) + np.diag(head[6:], 1) + np.diag(head[6:], -1)
            assert np.linalg.eigvalsh(full)[0] > -1e-12
        step = torch.zeros(3, dtype=torch.float64)
        step[input_] = 0.7
        assert bool((sign * (layer(x + step) - layer(x)) >= -1e-12).all())


def test_matrices_given_to_monotone_inputs_are_kept_if_they_are_semidefinite():
    layer, free = SpectralLayer(2, 1, 3, monotone=[1, 0], dtype=torch.float64), rows(3, 1, 5)
    free[0] = torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0])  # singular: L has rows (1), (1, 1), (0, 1, 0)
    layer.matrices = free
    torch.testing.assert_close(layer.matrices.detach(), free, rtol=0, atol=1e-14)
    free[0, 0, 0] = -1.0
    with pytest.raises(ValueError, match="must be semidefinite of its sign"):
        layer.matrices = free


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_outputs_never_turn_back_in_few_digits(dtype):
    x = torch.tensor([[0.0], [10.0], [100.0], [1000.0], [1e6]])
    for seed in range(60):
        torch.manual_seed(seed)
        neuron = SpectralNeuron(1, 5, 0, monotone=[+1])
        torch.nn.init.normal_(neuron.parametrizations.matrices.original)
        neuron = neuron.to(dtype)
        assert neuron.matrices.dtype is dtype
        for inputs in (x, x.bfloat16()):
            out = neuron(inputs)
            assert out.dtype is torch.promote_types(dtype, inputs.dtype)
            assert float(out.detach().diff().min()) >= 0.0
    model = to_model(neuron, features=["a"], target="y")
    assert model.certificates().monotone == {"a": "+"}
    assert model.predict(x.numpy()) == pytest.approx(neuron(x.double()).detach().numpy(), rel=1e-12)
    constant, contributions = neuron.explain(x.double())
    torch.testing.assert_close(constant + contributions.sum(-1), neuron(x.double()).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "make", [lambda: SpectralNeuron(3, 4, monotone=[1, 0, -1]), lambda: SpectralEnsemble(3, 2, 4, monotone=[1, 1, 0])]
)
def test_layers_with_monotone_inputs_are_pickled_with_their_free_parameters(make):
    module, x = make(), torch.randn(5, 3)
    again = pickle.loads(pickle.dumps(module))
    assert torch.equal(again(x), module(x))
    assert again.state_dict().keys() == module.state_dict().keys()
    again(x).sum().backward()
    assert all(p.grad is not None for p in again.parameters())


def test_a_layer_made_without_numbers_has_its_signs_once_loaded():
    layer, x = SpectralLayer(3, 1, 5, monotone=[1, 0, -1]), rows(5, 3, dtype=torch.float32)
    state = layer.state_dict()
    assert state["parametrizations.matrices.0.signs"].flatten().tolist() == [1, 0, -1, 0]
    for assign in (False, True):
        again = SpectralLayer(3, 1, 5, monotone=[1, 0, -1], device="meta")
        again = again if assign else again.to_empty(device="cpu")
        again.load_state_dict(state, assign=assign)
        assert torch.equal(again(x), layer(x))


def test_a_state_with_other_signs_is_refused():
    layer, other = SpectralLayer(3, 1, 5, monotone=[1, 0, -1]), SpectralLayer(3, 1, 5, monotone=[1, 0, 1])
    with pytest.raises(RuntimeError, match=r"monotone=\[1, 0, -1\]; this one has monotone=\[1, 0, 1\]"):
        other.load_state_dict(layer.state_dict())
    # States had no signs once.
    old = {name: tensor for name, tensor in layer.state_dict().items() if not name.endswith("signs")}
    again = SpectralLayer(3, 1, 5, monotone=[1, 0, -1])
    again.load_state_dict(old)
    assert torch.equal(again.matrices, layer.matrices)
