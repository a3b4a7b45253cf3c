"""Names that are made up, of pairs and cycles, never equal a column's or another made-up one."""

import io
from dataclasses import replace
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.support.made_models import make_wide_model
from tests.support.twin import random_model, random_rows

from eigenserve.app.wire.arrow import read_arrow
from eigenserve.app.wire.tables import _read_csv
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.layout.titles import as_called
from eigenserve.training.data.schema import infer_features

PARTS = ("a", "b", "&", " ", "a & b", "& ", " &", "&&")
HARD = sorted({"".join(parts) for parts in product(PARTS, repeat=2)} | {"score", "gap", "baseline", "a & b & c"})


def space(names):
    return FeatureSpace(tuple(Feature(name, "numeric", 0.0) for name in names))


def test_blanks_around_a_name_are_passed_over_where_it_leaves_one_column():
    assert as_called([" sp ", "x", "y "], ["sp", "x", "z"]) == ["sp", "x", "y "]
    assert as_called(["sp", "x"], [" sp ", "x"]) == [" sp ", "x"]
    assert as_called(["sp", " sp "], ["sp"]) == ["sp", " sp "]
    assert as_called([" sp", "sp "], ["sp"]) == [" sp", "sp "]
    assert as_called(["& "], [" &", "& "]) == ["& "]
    assert as_called(["&"], [" &", "& "]) == ["&"]


@pytest.mark.parametrize(("own", "given"), [("sp", " sp "), (" sp ", "sp")])
def test_tables_have_a_column_whatever_blanks_are_around_its_name(own, given):
    features, rows = space((own,)), pd.DataFrame({given: [1.0, 2.0]})
    sink = io.BytesIO()
    table = pa.Table.from_pandas(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    served = SimpleNamespace(model=SimpleNamespace(features=features))
    body = rows.to_csv(index=False).encode()
    for table in (rows, {given: [1.0, 2.0]}, read_arrow(sink.getvalue(), [own], 10)):
        assert features.encode(table)[:, 0].tolist() == [1.0, 2.0]
    assert features.encode(_read_csv(body, served, (), 10, lambda: None))[:, 0].tolist() == [1.0, 2.0]
    with pytest.raises(InvalidRowsError, match="must have the column"):
        features.encode(pd.DataFrame({f"{given}?": [1.0]}))


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
