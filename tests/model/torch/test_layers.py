"""The layers: values against a dense twin, gradients, shapes, dtypes, monotone inputs, explanations, training."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from eigenserve.model.matrices.curves import Curve  # noqa: E402
from eigenserve.torch import PiecewiseCurves, SpectralEnsemble, SpectralLayer, SpectralNeuron  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def dense_outputs(layer, x):
    """The definition, one row and one output at a time, by dense eigenvalues in NumPy."""
    table, n = layer.matrices.detach().double().numpy(), layer.dim

    def full(entries):
        return np.diag(entries[:n]) + np.diag(entries[n:], 1) + np.diag(entries[n:], -1)

    return np.array(
        [
            [
                np.linalg.eigvalsh(
                    full(table[-1, o]) + sum(v * full(table[i, o]) for i, v in enumerate(row.double().numpy()))
                )[layer.eig_idx]
                for o in range(layer.out_features)
            ]
            for row in x
        ]
    )


@pytest.mark.parametrize(("out_features", "dim", "eig_idx"), [(1, 1, 0), (3, 2, 1), (2, 7, None), (1, 7, 6)])
def test_outputs_are_eigenvalues_of_the_pencil(out_features, dim, eig_idx):
    layer = SpectralLayer(4, out_features, dim, eig_idx, dtype=torch.float64)
    x = rows(6, 4)
    truth = dense_outputs(layer, x)
    # 8 eps of matrices of a norm below ten.
    assert layer(x).detach().numpy() == pytest.approx(truth, abs=2e-14 * 10)
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x.requires_grad_()).detach())


def test_the_small_path_agrees_with_the_composed_one(monkeypatch):
    from eigenserve.model.torch import affine

    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        layer, x = SpectralLayer(5, 3, 6, dtype=dtype), rows(700, 5, dtype=dtype).requires_grad_()
        weights = rows(700, 3, seed=1, dtype=dtype)
        results = []
        for most in (affine.MOST_ENTRIES, 0):
            monkeypatch.setattr(affine, "MOST_ENTRIES", most)
            out = layer(x)
            results.append((out, *torch.autograd.grad((weights * out).sum(), (x, layer.matrices))))
        for ours, truth in zip(*results, strict=True):
            assert ours.dtype is dtype
            torch.testing.assert_close(ours, truth, rtol=tolerance, atol=tolerance * float(truth.detach().abs().max()))


def test_the_layer_has_right_derivatives_of_both_orders_and_modes():
    layer = SpectralLayer(2, 2, 4, dtype=torch.float64)

    def outputs(x, matrices):
        return torch.func.functional_call(layer, {"matrices": matrices}, (x,))

    inputs = rows(3, 2).requires_grad_(), layer.matrices.detach().clone().requires_grad_()
    assert gradcheck(outputs, inputs, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(outputs, inputs)


@pytest.mark.parametrize("smoothing", [None, 0.3])
def test_any_batch_shape_is_kept(smoothing):
    layer, neuron = SpectralLayer(3, 2, 5, smoothing=smoothing), SpectralNeuron(3, 5, smoothing=smoothing)
    flat = rows(12, 3, dtype=torch.float32)
    for shape in ((12,), (3, 4), (2, 1, 6)):
        x = flat.reshape(*shape, 3)
        torch.testing.assert_close(layer(x), layer(flat).reshape(*shape, 2))
        torch.testing.assert_close(neuron(x), neuron(flat).reshape(shape))
    assert neuron(flat[0]).shape == ()
    assert layer(flat[:0]).shape == (0, 2)
    layer(flat[:0].requires_grad_()).sum().backward()
    assert float(layer.matrices.grad.abs().sum()) == 0.0


def test_outputs_have_the_dtype_that_inputs_and_matrices_promote_to():
    neuron = SpectralNeuron(3, 5)
    x = rows(6, 3, dtype=torch.float32)
    assert neuron(x.double()).dtype is torch.float64
    assert neuron(x.bfloat16()).dtype is torch.float32
    half = copy.deepcopy(neuron).bfloat16()
    out = half(x.bfloat16().requires_grad_())
    out.sum().backward()
    assert out.dtype is half.matrices.grad.dtype is torch.bfloat16
    # bfloat16 has eight bits.
    torch.testing.assert_close(out.float(), neuron(x), rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(neuron(x), neuron(x))
        assert neuron(x).dtype is torch.float32


@pytest.mark.parametrize(
    ("inputs", "outputs", "smoothing"), [(2, 10, 1e-9), (2, 10, None), (2, 600, None), (16, 40, None)]
)
def test_outputs_are_rounded_once(inputs, outputs, smoothing):
    layer, x = SpectralLayer(inputs, outputs, 15, smoothing=smoothing), rows(60, 1, dtype=torch.float32)
    # Terms of a few thousand that cancel but for a tenth.
    x = 2000.0 + x + 0.1 * rows(60, inputs, seed=1, dtype=torch.float32)
    with torch.no_grad():
        layer.matrices[inputs // 2 : inputs] = -layer.matrices[: inputs // 2]
        exact = copy.deepcopy(layer).double()(x.double())
        torch.testing.assert_close(layer(x), exact.float(), rtol=2 * torch.finfo(torch.float32).eps, atol=0)


def test_state_is_saved_loaded_and_tied():
    first, second = SpectralLayer(3, 2, 5), SpectralLayer(3, 2, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    assert list(first.state_dict()) == ["matrices"]
    second.load_state_dict(torch.load(file))
    x = rows(4, 3, dtype=torch.float32)
    assert torch.equal(first(x), second(x))
    second.matrices = first.matrices
    (first(x).sum() + second(x).sum()).backward()
    assert len({id(p) for p in [*first.parameters(), *second.parameters()]}) == 1


def test_print_shows_what_a_layer_is():
    layer = SpectralLayer(3, 2, 5, smoothing=0.25, monotone=[1, 0, -1])
    for part in ("in_features=3", "out_features=2", "dim=5", "eig_idx=2", "smoothing=0.25", "monotone=(1, 0, -1)"):
        assert part in repr(layer)
    assert "members=3" in repr(SpectralEnsemble(3, 2, 5, members=3))


@pytest.mark.parametrize("smoothing", [None, 0.4])
def test_contributions_add_up_to_the_output(smoothing):
    layer = SpectralLayer(4, 3, 5, smoothing=smoothing, dtype=torch.float64)
    x = rows(2, 6, 4)
    constant, contributions = layer.explain(x)
    torch.testing.assert_close(constant + contributions.sum(-1), layer(x).detach(), rtol=0, atol=1e-13)
    # An input's contribution is its value times the output's slope in it, by Euler's theorem for the linear part.
    slopes = torch.func.vmap(torch.func.jacrev(layer))(x.reshape(12, 4)).reshape(2, 6, 3, 4).detach()
    torch.testing.assert_close(contributions, slopes * x[..., None, :], rtol=0, atol=1e-12)
    ensemble = SpectralEnsemble(4, 2, 5, members=3, smoothing=smoothing, dtype=torch.float64)
    constant, contributions = ensemble.explain(x)
    torch.testing.assert_close(constant + contributions.sum(-1), ensemble(x).detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("smoothing", [None, 0.4])
@pytest.mark.parametrize("make", [SpectralLayer, SpectralEnsemble])
def test_outputs_are_explained_in_every_mode(make, smoothing):
    torch._dynamo.reset()
    layer, x = make(3, 2, 5, smoothing=smoothing), rows(4, 3, dtype=torch.float32)

    def contributions(x):
        return layer.explain(x).contributions

    truth = contributions(x)
    assert not truth.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(contributions(x), truth)
    torch.testing.assert_close(torch.func.vmap(contributions)(x), truth)
    torch.testing.assert_close(torch.compile(contributions, fullgraph=True, backend="aot_eager")(x), truth)


def test_strengths_bound_every_slope_and_are_norms():
    layer = SpectralLayer(4, 2, 5, dtype=torch.float64)
    strengths = layer.strengths()
    for i in range(4):
        for o in range(2):
            entries = layer.matrices[i, o].detach().numpy()
            full = np.diag(entries[:5]) + np.diag(entries[5:], 1) + np.diag(entries[5:], -1)
            assert strengths[i, o].item() == pytest.approx(np.linalg.norm(full, 2), rel=1e-13)
    slopes = torch.func.vmap(torch.func.jacrev(layer))(rows(50, 4)).abs().amax(0)
    assert bool((slopes.mT <= strengths + 1e-12).all())
    strengths.sum().backward()
    assert float(layer.matrices.grad[:-1].abs().sum()) > 0


def test_the_mean_of_members_is_the_ensemble():
    ensemble, x = SpectralEnsemble(3, 2, 5, members=4, dtype=torch.float64), rows(7, 3)
    scores = ensemble.member_scores(x)
    assert scores.shape == (7, 2, 4)
    torch.testing.assert_close(scores.mean(-1), ensemble(x))


def test_gradients_of_single_samples_are_those_of_a_loop():
    layer = SpectralLayer(3, 2, 5, dtype=torch.float64)
    x, parameters = rows(6, 3), dict(layer.named_parameters())

    def loss(values, row):
        return (torch.func.functional_call(layer, values, (row,)) ** 2).sum()

    by_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)["matrices"]
    for i in range(6):
        layer.zero_grad()
        (layer(x[i]) ** 2).sum().backward()
        torch.testing.assert_close(by_sample[i], layer.matrices.grad, rtol=1e-11, atol=1e-11)


def test_a_module_is_compiled_as_one_graph_and_trains_alike():
    torch._dynamo.reset()
    module = torch.nn.Sequential(SpectralLayer(3, 4, 5), torch.nn.Tanh(), SpectralNeuron(4, 5)).double()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for count in (8, 21):
        x = rows(count, 3, seed=count)
        module.zero_grad()
        module(x).pow(2).sum().backward()
        truth = [p.grad.clone() for p in module.parameters()]
        module.zero_grad()
        compiled(x).pow(2).sum().backward()
        torch.testing.assert_close([p.grad for p in module.parameters()], truth, rtol=1e-10, atol=1e-12)


def test_an_exported_module_gives_the_same_numbers():
    module, x = SpectralNeuron(3, 5), rows(6, 3, dtype=torch.float32)
    graph = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for count in (2, 6):
        torch.testing.assert_close(graph(x[:count]), module(x[:count]), rtol=1e-5, atol=1e-5)


def test_a_neuron_learns_what_a_line_cannot():
    torch.manual_seed(0)
    x = rows(512, 4, dtype=torch.float32)
    target = x[:, 0].abs() - x[:, 1] * x[:, 2].sign()
    neuron = SpectralNeuron(4, 9)
    optimizer = torch.optim.Adam(neuron.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(neuron(x), target).backward()
        optimizer.step()
    line = torch.linalg.lstsq(torch.cat([x, torch.ones(512, 1)], 1), target).solution
    of_line = (torch.cat([x, torch.ones(512, 1)], 1) @ line - target).pow(2).mean()
    assert (neuron(x) - target).pow(2).mean().item() < 0.4 * of_line.item()


def test_mistakes_are_named():
    for make, message in (
        (lambda: SpectralNeuron(3, 5, 5), r"eig_idx must be in \[0, 5\); got 5"),
        (lambda: SpectralLayer(0, 1, 5), "in_features must be at least 1; got 0"),
        (lambda: SpectralNeuron(3, 5, smoothing=0.0), "smoothing must be positive and finite, or None; got 0.0"),
        (lambda: SpectralNeuron(3, 5, monotone=[1, 2, 0]), r"each -1, 0 or 1; got \[1, 2, 0\]"),
        (lambda: SpectralNeuron(3, 5)(torch.zeros(4, 2)), r"inputs must be \(..., 3\); got \(4, 2\)"),
        (lambda: SpectralNeuron(3, 5)(torch.zeros(4, 3) * 1j), "inputs must be real; got torch.complex64"),
        (lambda: SpectralEnsemble(3, 1, 5, members=0), "members must be at least 1; got 0"),
        (lambda: PiecewiseCurves([]), "at least one curve"),
        (lambda: PiecewiseCurves.through([[0.0, 1.0]] * 3)(torch.zeros(4, 7)), r"must be \(..., 3\); got \(4, 7\)"),
        (
            lambda: PiecewiseCurves([Curve(0, (2,), (1.0,), knots=(0.0, 1.0))])(torch.zeros(2)),
            r"must be \(..., at least 3\); got \(2,\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("smoothing", [None, 0.3])
def test_shapes_are_found_without_numbers(smoothing):
    layer = SpectralLayer(3, 2, 5, smoothing=smoothing, device="meta")
    assert layer(torch.empty(7, 3, device="meta")).shape == (7, 2)


def test_what_is_not_a_tensor_is_refused():
    with pytest.raises(TypeError, match="inputs must be a tensor; got list"):
        SpectralNeuron(3, 5)([[1.0, 2.0, 3.0]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("smoothing", [None, 0.3])
def test_a_traced_layer_solves_what_it_is_given(smoothing):
    layer = SpectralLayer(3, 2, 5, smoothing=smoothing)
    traced = torch.jit.trace(layer, rows(4, 3, dtype=torch.float32))
    x = rows(9, 3, seed=1, dtype=torch.float32)
    torch.testing.assert_close(traced(x), layer(x))
