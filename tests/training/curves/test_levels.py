"""Finer forms of curves: the same path with more knots, and one curve in the finished model."""

import numpy as np
import pandas as pd
import pytest

from eigenserve.training.curves.basis import main_curves
from eigenserve.training.curves.knots import choose_knots
from eigenserve.training.curves.levels import finer_coefficients, interpolation, with_finer_curves
from eigenserve.training.data.schema import infer_features


def space_of(rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    gaps = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    zeros = np.where(rng.random(rows) < 0.7, 0.0, rng.exponential(size=rows))
    frame = pd.DataFrame(
        {"a": rng.normal(size=rows), "gaps": gaps, "zeros": zeros, "code": rng.choice(list("xyz"), rows)}
    )
    space = infer_features(frame)
    return space, space.coordinates(space.encode(frame))


def test_a_coarse_curve_is_a_fine_one_exactly():
    space, z = space_of()
    _, bases = main_curves(space, z)
    every, levels = with_finer_curves(bases, z, len(bases))
    assert levels.count == 3
    rng, finer = np.random.default_rng(1), 0
    for c, basis in enumerate(every):
        base = levels.base_of[c]
        if base == c:
            continue
        finer += 1
        coefficients = rng.normal(size=(every[base].num_params, 2))
        coarse = every[base].matrices(coefficients, 0.0)
        fine = basis.matrices(finer_coefficients(every[base], basis, coefficients), 0.0)
        # Sums of some hundred float64 of a size near 1.
        np.testing.assert_allclose(fine, interpolation(every[base], basis) @ coarse, atol=1e-12)
        assert set(every[base].curve.knots) <= set(basis.curve.knots)
        assert len(basis.curve.knots) > 1.2 * len(every[base].curve.knots)
    assert finer >= 4


def test_every_level_uses_one_form_of_each_curve():
    space, z = space_of()
    _, bases = main_curves(space, z, spikes=False)
    _, levels = with_finer_curves(bases, z, len(bases), spikes=False)
    for level in range(levels.count):
        assert sorted(levels.base_of[levels.used(level)]) == list(range(len(bases)))


def test_curves_with_a_shape_and_few_rows_stay_as_they_are():
    space, z = space_of()
    _, bases = main_curves(space, z, monotone={0: 1}, bends={1: 1})
    _, levels = with_finer_curves(bases, z, len(bases))
    assert set(levels.base_of[len(bases) :]) == {2}
    space, z = space_of(60)
    _, bases = main_curves(space, z)
    assert with_finer_curves(bases, z, len(bases))[1].count == 1


def test_without_spikes_a_column_of_zeros_and_few_others_has_few_knots():
    rng = np.random.default_rng(2)
    values = np.where(rng.random(5000) < 0.8, 0.0, rng.integers(1, 200, 5000))
    with_, without = choose_knots(values, 12), choose_knots(values, 12, spikes=False)
    assert len(without) < 10 < 30 < len(with_)
    assert {0.0, 1.0, values.max()} <= set(without)
    np.testing.assert_array_equal(choose_knots(rng.normal(size=500), 8, spikes=False).shape, (8,))
    assert len(choose_knots(np.zeros(100), 8, spikes=False)) == 1


@pytest.mark.parametrize("spikes", [True, False])
def test_knots_are_ascending_whatever_the_ties(spikes):
    rng = np.random.default_rng(3)
    for share in (0.1, 0.5, 0.99):
        values = np.where(rng.random(3000) < share, 2.5, rng.normal(size=3000))
        assert (np.diff(choose_knots(values, 16, spikes)) > 0).all()
