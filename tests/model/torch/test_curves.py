"""PiecewiseCurves: what inputs it takes and refuses, and how casts, copies and state dicts keep its knots."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from eigenserve.model.matrices.curves import Curve  # noqa: E402
from eigenserve.model.rows.feature import Feature  # noqa: E402
from eigenserve.torch import PiecewiseCurves, SpectralNeuron, to_model  # noqa: E402

CHOSEN = [
    Curve(term=0, categorical=(0,), num_codes=(3,)),
    Curve(term=1, numeric=(1,), direction=(1.0,), knots=(0.0, 0.5, 1.0), missing=True),
]


def table(count=100, seed=0):
    return torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def curved(curves):
    net = torch.nn.Sequential(curves, SpectralNeuron(curves.out_features, 5)).double()
    torch.nn.init.normal_(net[1].matrices)
    return net


@pytest.mark.parametrize("basis", ["hats", "ramps"])
def test_a_column_with_gaps_has_a_matrix_for_them_that_is_served(basis):
    x = table()
    x[:10, 0] = torch.nan
    curves = PiecewiseCurves.of_data(x, 4, basis=basis)
    assert [curve.missing for curve in curves.curve_set.curves] == [True, False]
    assert curves(x[:1])[0, :5].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    net = curved(curves)
    model = to_model(net, features=["a", "b"], target="y", rows=x.numpy())
    assert [feature.missing for feature in model.features.features] == [True, False]
    assert model.predict(x.numpy()) == pytest.approx(net(x).detach().numpy(), abs=1e-12)


def test_nan_gives_nan_where_there_is_no_matrix_for_it():
    curves = PiecewiseCurves.through([(0.0, 1.0), (0.0, 1.0)], missing=[False, True])
    out = curves(torch.tensor([[torch.nan, 0.25], [0.25, torch.nan]]))
    assert bool(out[0, :2].isnan().all())
    assert out[1].tolist() == [0.75, 0.25, 0.0, 0.0, 1.0]
    assert bool(curved(curves)(torch.tensor([[torch.nan, 0.25]])).isnan().all())
    with pytest.raises(ValueError, match="missing must have 2 entries, as knots has; got 1"):
        PiecewiseCurves.through([(0.0, 1.0), (0.0, 1.0)], missing=[True])
    with pytest.raises(ValueError, match="column 1 holds none"):
        PiecewiseCurves.of_data(torch.tensor([[0.0, torch.nan], [1.0, torch.nan]]))


def test_a_feature_that_would_be_imputed_is_refused_where_the_module_has_a_matrix():
    net = curved(PiecewiseCurves.through([(0.0, 1.0)], missing=True))
    with pytest.raises(ValueError, match="make the feature 'a' with missing=True"):
        to_model(net, features=[Feature("a", "numeric", 0.5)], target="y")
    x = np.array([[np.nan], [0.3]])
    model = to_model(net, features=[Feature("a", "numeric", 0.5, missing=True)], target="y")
    assert model.predict(x) == pytest.approx(net(torch.from_numpy(x)).detach().numpy(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int16])
def test_integers_have_weights_in_the_dtype_of_the_module(dtype):
    age = torch.tensor([[3], [12], [17]], dtype=dtype)
    curves = PiecewiseCurves.through([[0.0, 10.0, 20.0]])
    assert curves(age).dtype is torch.float32
    net = curved(curves)
    assert curves(age).tolist() == curves(age.double()).tolist()
    assert torch.equal(net(age), net(age.double()))
    model = to_model(net, features=["age"], target="y")
    assert model.predict(age.numpy()) == pytest.approx(net(age).detach().numpy(), abs=1e-12)
    assert curves.bfloat16()(age).dtype is torch.bfloat16


@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16, torch.float16])
def test_casts_leave_knots_as_they_are(cast):
    x = table() * 0.05 + torch.tensor([-118.3, 34.2], dtype=torch.float64)  # degrees
    curves = PiecewiseCurves.of_data(x, 6, basis="ramps")
    before = curves(x)
    net = torch.nn.Sequential(curves, SpectralNeuron(curves.out_features, 5)).to(cast)
    assert curves.knots.dtype is torch.float64
    assert torch.equal(curves(x), before)
    net = net.double()
    model = to_model(net, features=["longitude", "latitude"], target="y", rows=x.numpy())
    assert model.predict(x.numpy()) == pytest.approx(net(x).detach().numpy(), abs=1e-12)


@pytest.mark.parametrize("basis", ["hats", "ramps"])
def test_a_state_brings_its_knots(basis):
    def build(data):
        curves = PiecewiseCurves.of_data(data, 6, basis=basis)
        return torch.nn.Sequential(curves, SpectralNeuron(curves.out_features, 5))

    x = table(200).float()
    trained, again = build(x), build(3 * x[:50] + 1)
    with torch.device("meta"):
        deferred = torch.nn.Sequential(
            PiecewiseCurves(again[0].curve_set.curves, basis), SpectralNeuron(again[0].out_features, 5)
        )
    again.load_state_dict(trained.state_dict())
    empty = deferred.to_empty(device="cpu")
    empty.load_state_dict(trained.state_dict())
    for loaded in (again, empty):
        assert torch.equal(loaded(x), trained(x))
        assert loaded[0].curve_set == trained[0].curve_set
        served = [to_model(net, features=["a", "b"], target="y").predict(x.numpy()) for net in (loaded, trained)]
        assert np.array_equal(*served)


def test_averages_of_weights_keep_knots():
    net, x = curved(PiecewiseCurves.through([(0.0, 0.5, 1.0), (0.0, 1.0)], extend=False, missing=True)), table(20)
    x[0] = torch.nan
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    for _ in range(3):
        average.update_parameters(net)
    torch.testing.assert_close(average(x), net(x))


def test_a_state_is_assigned_to_curves_made_without_numbers():
    curves, x = PiecewiseCurves(CHOSEN), torch.tensor([[2.0, 0.3], [0.0, torch.nan]])
    with torch.device("meta"):
        again = PiecewiseCurves([*CHOSEN[:1], Curve(1, (1,), (1.0,), knots=(0.0, 2.0, 3.0), missing=True)])
    again.load_state_dict(curves.state_dict(), assign=True)
    assert not any(buffer.is_meta for buffer in again.buffers())
    assert torch.equal(again(x), curves(x))
    assert again.curve_set == curves.curve_set


def test_a_state_of_other_curves_is_refused():
    curves = PiecewiseCurves.through([(0.0, 1.0)], basis="ramps")
    for other, message in (
        (PiecewiseCurves.through([(0.0, 1.0)]), "the state's curves are in the basis ramps; these are in hats"),
        (PiecewiseCurves.through([(0.0, 1.0, 2.0)], basis="ramps"), "have 2 matrices; these have 3"),
    ):
        with pytest.raises(RuntimeError, match=message):
            other.load_state_dict(curves.state_dict())
        assert other(torch.zeros(1)).shape == (other.out_features,)
    broken = {**curves.state_dict(), "knots": torch.ones(2)}
    with pytest.raises(RuntimeError, match="must have ascending knots"):
        curves.load_state_dict(broken)
    net = curved(curves)
    old = {"1.matrices": net[1].matrices.detach()}
    with pytest.warns(UserWarning, match="holds no curves 0.knots"), pytest.raises(RuntimeError, match="Missing key"):
        net.load_state_dict(old)
    with pytest.warns(UserWarning, match="load it with strict=False, which keeps them"):
        assert "0.knots" in net.load_state_dict(old, strict=False).missing_keys


def test_codes_that_there_are_not_are_refused_or_nan():
    torch._dynamo.reset()
    curves = PiecewiseCurves(CHOSEN)
    compiled = torch.compile(curves, fullgraph=True, backend="aot_eager")
    right = torch.tensor([[2.0, 0.3], [torch.nan, torch.nan]])
    torch.testing.assert_close(compiled(right), curves(right), equal_nan=True)
    for code in (3.0, -1.0, 0.5):
        wrong = torch.tensor([[1.0, 0.3], [code, 0.5]])
        with pytest.raises(ValueError, match=f"input 0 must hold codes, whole numbers from 0 to 2; got {code:g}"):
            curves(wrong)
        for weights in (compiled(wrong), torch.func.vmap(curves)(wrong)):
            assert bool(weights[1, :3].isnan().any())
            assert weights[0].tolist() == curves(wrong[:1])[0].tolist()
            assert weights[1, 3:].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_mistakes_are_named():
    ramps = PiecewiseCurves.through([[0.0, 1.0]], basis="ramps")
    for make, message in (
        (
            lambda: PiecewiseCurves.through([[2.0, 0.0, 1.0]]),
            r"ascending knots, none of them twice; got \[2.0, 0.0, 1.0",
        ),
        (lambda: PiecewiseCurves.through([[0.0, 0.0, 1.0]]), "curve 0 must have ascending knots"),
        (lambda: PiecewiseCurves.through([[0.0, 1.0], []]), "curve 1 must have at least one knot"),
        (lambda: PiecewiseCurves.through([[0.0, np.nan]]), "curve 0 must have ascending knots"),
        (lambda: PiecewiseCurves.through([[0.0, np.inf]]), "curve 0 must have finite knots"),
        (lambda: PiecewiseCurves([Curve(0, (0,), (), (), (), (0.0, 1.0))]), "a weight for each numeric feature"),
        (lambda: PiecewiseCurves([Curve(0, categorical=(0,))]), "a number of codes, 1 or more"),
        (lambda: PiecewiseCurves(CHOSEN, in_features=1), r"inputs from 0 to 0; got \[0, 1\]"),
        (lambda: PiecewiseCurves.of_data(torch.zeros(3)), r"x must be \(N, F\); got \(3,\)"),
        (lambda: ramps.monotone_signs({7: 1}), r"a curve walks along, \[0\]; got input 7"),
        (lambda: ramps.monotone_signs({0: 2}), "signs must be -1, 0 or 1; got 2 for input 0"),
        (lambda: ramps(torch.zeros(1) * 1j), "inputs must be real"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="inputs must be a tensor; got list"):
        ramps([[0.0]])
