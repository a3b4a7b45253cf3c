"""The search: what it compares, what it spends, and what it can never lose to."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.data.schema import infer_features
from eigenserve.training.data.target import Target
from eigenserve.training.fit import fit
from eigenserve.training.planning.clock import Clock
from eigenserve.training.search.blends.blend import best_blend, blend, mean_loss
from eigenserve.training.search.candidates import Candidate, neighbours, starting_candidates
from eigenserve.training.search.halving import Search, _promises_more
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.preparation.links import prepare_linked
from eigenserve.training.search.preparation.planned import plan_fit
from eigenserve.training.settings import make_settings

WAY = Candidate((1.0, None, None), additive_start=False)


def judged(scores, target, candidate=WAY):
    return Judged(candidate, 300, scores, float(((scores - target) ** 2).mean()))


def squared(target):
    return lambda scores: float(((scores - target) ** 2).mean())


def test_the_loss_of_a_mean_is_foreseen_from_a_few_members():
    rng = np.random.default_rng(0)
    target, bias = np.zeros((20_000, 1)), 0.5
    members = [bias + rng.normal(size=target.shape) for _ in range(12)]
    foreseen = mean_loss([judged(scores, target) for scores in members[:2]], 12, squared(target))
    assert foreseen == pytest.approx(bias**2 + 1.0 / 12, abs=0.04)  # a mean of 20,000 squares near 1: 0.01, four of it
    seen = squared(target)(np.mean(members, axis=0))
    assert foreseen == pytest.approx(seen, abs=0.04)
    alone = mean_loss([judged(members[0], target)], 12, squared(target))
    assert alone == pytest.approx(bias**2 + 1.0, abs=0.06)


def test_a_candidate_of_small_bias_is_preferred_to_one_of_small_variance():
    rng = np.random.default_rng(1)
    target = np.zeros((5_000, 1))
    noisy = [judged(rng.normal(size=target.shape), target) for _ in range(2)]
    biased = [judged(np.full(target.shape, 0.6), target) for _ in range(2)]
    assert biased[0].loss < noisy[0].loss
    assert mean_loss(noisy, 12, squared(target)) < mean_loss(biased, 12, squared(target))


def test_a_blend_has_one_size_and_loses_to_none_of_its_parts():
    rng = np.random.default_rng(2)
    target = np.zeros((1000, 1))
    entries = [
        judged(rng.normal(0.1 * dim, 1.0, target.shape), target, Candidate((1.0, None, None), False, dim=dim))
        for dim in (7, 7, 15, 15)
    ]
    entries.append(judged(np.full(target.shape, 2.0), target, None))
    picks = best_blend(entries, {7: 6, 15: 4}.__getitem__, squared(target))
    assert len({pick.candidate.dim for pick in picks if pick.candidate is not None}) == 1
    mean = np.mean([pick.scores for pick in picks], axis=0)
    assert squared(target)(mean) <= min(entry.loss for entry in entries)
    assert len(blend(entries, 3, squared(target))) == 3


@pytest.mark.parametrize(("gain", "level"), [(1e-4, 0), (1e-2, 1)])
def test_finer_curves_are_taken_where_they_gain_more_than_chance(gain, level):
    target = np.zeros((1000, 1))
    coarse, fine = (Candidate((1.0, None, None), False, level=i) for i in range(2))
    entries = [
        judged(np.full(target.shape, 1.0), target, coarse),
        judged(np.full(target.shape, 1.0 - gain), target, fine),
    ]
    picks = best_blend(entries, {15: 4}.__getitem__, squared(target))
    assert {pick.candidate.level for pick in picks} == {level}


def test_neighbours_differ_in_one_respect_and_lead_back():
    for start in starting_candidates(15):
        near = list(neighbours(start, 3, (7, 15, 25), taught=True))
        assert len(near) == len(set(near))
        assert start not in near
        for other in near:
            changed = [name for name in vars(start) if getattr(start, name) != getattr(other, name)]
            assert len(changed) == 1
    assert {candidate.dim for candidate in neighbours(WAY, 1, (15,))} == {15}
    assert {candidate.level for candidate in neighbours(WAY, 1, (15,))} == {0}


def test_a_length_is_begun_while_gains_promise_more():
    assert _promises_more([1.0])
    assert _promises_more([1.0, 1.005])  # a small step says little yet
    assert not _promises_more([1.0, 1.5])
    assert _promises_more([1.0, 0.9, 0.85])
    assert not _promises_more([1.0, 0.9, 0.8999])
    assert not _promises_more([1.0, 0.9, 0.95])  # worse: a length of 16,000 steps would follow for nothing
    assert not _promises_more([1.0, 0.5, 0.49])  # the next gain is taken to be a fiftieth of this one


def test_where_lines_are_the_truth_no_candidate_is_worse_than_they():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(120, 6)), columns=list("abcdef"))
    score = frame.to_numpy() @ np.array([2.0, -1.0, 1.0, 0.0, 0.0, 0.0])
    frame["y"] = rng.random(120) < 1.0 / (1.0 + np.exp(-score))
    settings = make_settings({"budget": 1.0, "reproducible": True, "members": 3, "dim": 5})
    fitted = fit(frame, "y", settings)
    lines = [entry.loss for entry in fitted.judged if entry.candidate is None]
    assert len(lines) == 3  # the additive model, the linear one and the better of them with idle curves left out
    assert fitted.model.card["metrics"]["out_of_fold"]["log_loss"] <= min(lines) + 1e-12


def searched(score, core_s, rows=600):
    """Search on rows of three numbers and a binary target; return the search, and what it reported of its time."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    chance = 1.0 / (1.0 + np.exp(-score(*frame.to_numpy().T)))
    goal = Target("y", "binary", (rng.random(rows) < chance).astype(float), ("n", "y"))
    settings = make_settings({"budget": 10.0, "reproducible": True, "dim": 5})
    space = infer_features(frame)
    scope = plan_fit(space, frame, goal, settings).scope
    _, bench, _ = prepare_linked(
        space, space.encode(frame), goal, np.ones(rows), settings, scope, Clock(1e9), core_seconds=0.0
    )
    reports = []
    reporter = SimpleNamespace(advance=lambda done, total, *_: reports.append((done, total)), say=print)
    search = Search(bench, lambda dim: 4, reporter)
    search.run(core_s=core_s)
    return search, np.array(reports, float)


def test_a_search_ends_where_matrices_say_no_more_than_the_additive_model():
    lines, _ = searched(lambda a, b, c: a - b, core_s=20.0)
    assert {entry.steps for entry in lines.judged} == {0, 300}
    waves, _ = searched(lambda a, b, c: 4.0 * np.sin(2.0 * (a + b + c)), core_s=20.0)
    assert max(entry.steps for entry in waves.judged) >= 1200


@pytest.mark.parametrize("core_s", [0.5, 8.0])
def test_the_time_of_a_search_is_foreseen_to_a_factor_of_three_once_its_first_candidates_are_judged(core_s):
    for score in (lambda a, b, c: a - b, lambda a, b, c: 4.0 * np.sin(2.0 * (a + b + c))):
        _, reports = searched(score, core_s)
        done, total = reports.T
        ratio = total[done > 0.6 * done[-1]] / done[-1]
        assert 0.33 < ratio.min() <= ratio.max() < 3.0
