"""A finished model scores as its members did in training, with one curve where they had several forms of it."""

from dataclasses import replace
from threading import Event

import numpy as np
import pandas as pd

from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.target import Target
from eigenserve.training.planning.clock import Clock
from eigenserve.training.search.assemble import build_ensemble
from eigenserve.training.search.candidates import Candidate
from eigenserve.training.search.preparation.links import prepare_linked
from eigenserve.training.search.preparation.planned import plan_fit
from eigenserve.training.settings import FitSettings


def test_members_of_several_resolutions_become_one_model_without_curves_that_none_uses():
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(2000) < 0.1, np.nan, rng.normal(size=2000))
    frame = pd.DataFrame({"a": rng.normal(size=2000), "gaps": gaps, "code": rng.choice(list("xyz"), 2000)})
    goal = Target("y", "regression", frame.a.to_numpy() + rng.normal(size=2000))
    settings = FitSettings(pairs=(("a", "gaps"),), dim=5)
    space = infer_features(frame)
    scope = plan_fit(space, frame, goal, settings).scope
    sample, bench, _ = prepare_linked(
        space, space.encode(frame), goal, np.ones(2000), settings, scope, Clock(60.0), core_seconds=1.0
    )
    assert bench.blueprint.levels.count == 3
    ways = [Candidate((1.0, None, None), level == 1, level=level, dim=5) for level in range(3)]
    trained = [bench.train(way, 60, 0, (0, i), Event()) for i, way in enumerate(ways)]
    ensemble = build_ensemble(
        bench.blueprint, [(member.params, member.offset) for member in trained], np.full(3, 1 / 3), bench.rows
    )
    held = bench.fold == 0
    expected = np.mean([member.scores for member in trained], axis=0)
    # float32 in training: some hundred numbers near 1 are added up for each matrix.
    np.testing.assert_allclose(
        ensemble.scores(sample.space.coordinates(space.encode(frame))[held]), expected, atol=1e-4
    )
    pencil = ensemble.pencil
    assert [term.name for term in pencil.terms] == ["a", "gaps", "code"]
    assert len(pencil.curves.curves) == 3
    finest = max(len(basis.curve.knots) for basis in bench.blueprint.bases)
    assert len(pencil.curves.curves[0].knots) == finest


def test_a_pair_that_a_member_uses_keeps_its_term():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    goal = Target("y", "regression", (frame.a * frame.b).to_numpy())
    settings = FitSettings(pairs=(("a", "b"),), dim=3)
    space = infer_features(frame)
    scope = replace(plan_fit(space, frame, goal, settings).scope, additive=False)
    _, bench, _ = prepare_linked(
        space, space.encode(frame), goal, np.ones(300), settings, scope, Clock(60.0), core_seconds=1.0
    )
    member = bench.train(Candidate((1.0, 1.0, None), False, dim=3), 20, None, (0,), Event())
    ensemble = build_ensemble(bench.blueprint, [(member.params, member.offset)], np.ones(1), bench.rows)
    assert [term.name for term in ensemble.pencil.terms] == ["a", "b", "a & b"]
