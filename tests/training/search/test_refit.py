"""Members that were trained before the time was up, and additive models, share the weight of the blend."""

from types import SimpleNamespace

import numpy as np
import pytest

from eigenserve.training.search import refit as module


@pytest.mark.parametrize("order", ["additive first", "additive last"])
def test_weights_add_up_to_one_where_the_time_was_up_before_all_members_were_trained(monkeypatch, order):
    additive = SimpleNamespace(coefficients=[None], offsets=[0.0])
    candidate = SimpleNamespace(dim=3)
    spectral = [SimpleNamespace(candidate=candidate, steps_on_all_rows=1, additive=None) for _ in range(4)]
    straight = [SimpleNamespace(candidate=None, additive=additive) for _ in range(3)]
    picks = straight + spectral if order == "additive first" else spectral + straight
    bench = SimpleNamespace(sized=lambda dim: None, device="cpu", additive_models=[additive], rows=None)
    weights = []

    def trained(*_, **__):
        yield SimpleNamespace(params=None, offset=0.0)
        yield SimpleNamespace(params=None, offset=0.0)
        raise module.OutOfTimeError

    monkeypatch.setattr(module, "train_tasks", trained)
    monkeypatch.setattr(module, "identity_params", lambda *_: None)
    monkeypatch.setattr(module, "build_ensemble", lambda blueprint, members, shares, *_: weights.append(shares))
    kept, members = module.train_picks(bench, picks)
    module.joined_picks(bench, kept, members, 1.0, 0.0)
    np.testing.assert_allclose(weights[0], [0.25, 0.25, 0.5])
