"""Names that are made up, of pairs and cycles, never equal a column's or another made-up one."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from tests.support.made_models import make_wide_model
from tests.support.twin import random_model, random_rows

from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.data.schema import infer_features

PARTS = ("a", "b", "&", " ", "a & b", "& ", " &", "&&")
HARD = sorted({"".join(parts) for parts in product(PARTS, repeat=2)} | {"score", "gap", "baseline", "a & b & c"})


def space(names):
    return FeatureSpace(tuple(Feature(name, "numeric", 0.0) for name in names))


def test_no_pair_is_called_like_a_column_or_another_pair():
    rng = np.random.default_rng(0)
    for names in [HARD, *(rng.choice(HARD, 6, replace=False).tolist() for _ in range(300))]:
        features = space(names)
        pairs = [features.pair_name(a, b) for a, b in combinations(range(len(names)), 2)]
        assert len({*names, *pairs}) == len(names) + len(pairs)


@pytest.mark.parametrize("names", [("a", "b"), ("R&D", "b"), ("a&b", "c")])
def test_plain_names_are_joined_by_one_sign(names):
    assert space(names).pair_name(0, 1) == f"{names[0]} & {names[1]}"


def test_a_cycle_whose_name_a_column_has_is_called_otherwise_and_kept():
    when = pd.date_range("2024-01-01", periods=500, freq="7h")
    frame = pd.DataFrame({"when": when, "when (hour)": range(500), "when (hour)*": range(500)})
    features = infer_features(frame)
    assert features.input_names == tuple(frame)
    assert features.names[3:] == ("when (hour)**", "when (weekday)")


@pytest.mark.parametrize("name", ["score", "baseline", "gap", "contributions.score"])
def test_a_frame_has_a_column_for_every_term_whatever_it_is_called(name):
    model = make_wide_model(3)
    features = (replace(model.features.features[0], name=name), *model.features.features[1:])
    terms = (replace(model.ensemble.pencil.terms[0], name=name), *model.ensemble.pencil.terms[1:])
    pencil = replace(model.ensemble.pencil, terms=terms)
    model = replace(model, features=FeatureSpace(features), ensemble=replace(model.ensemble, pencil=pencil))
    found = model.explain([{}, {}])
    frame = found.to_frame()
    assert frame.columns.is_unique
    assert frame.shape == (2, 6)
    np.testing.assert_allclose(frame.drop(columns=["score", "gap"]).sum(axis=1), frame["score"], rtol=1e-9)


def test_a_stored_model_whose_pair_is_called_like_a_column_is_read_with_other_names(tmp_path):
    from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint

    model = random_model()
    pencil = model.ensemble.pencil
    features = (replace(model.features.features[0], name="width & price"), *model.features.features[1:])
    terms = (replace(pencil.terms[0], name="width & price"), *pencil.terms[1:])
    pencil = replace(pencil, terms=terms)
    write_checkpoint(
        tmp_path, replace(model, features=FeatureSpace(features), ensemble=replace(model.ensemble, pencil=pencil))
    )
    read = read_checkpoint(tmp_path)
    names = [term.name for term in read.ensemble.pencil.terms]
    assert len(set(names)) == len(names)
    assert (names[0], names[5]) == ("width & price", "width & price && price")
    assert len(read.explain([{}]).terms) == len(random_model().explain(random_rows(1)).terms)
