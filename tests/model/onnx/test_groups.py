"""Explanations in files put the groups that a model keeps together, and name their method."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support.made_models import make_model, make_rows

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_the_contributions_of_a_kept_group_are_one_number(task):
    from eigenserve.model.onnx import ExportSettings, graph_inputs, onnx_bytes
    from eigenserve.model.onnx.agreement import run

    model, settings = make_model(task, seed=3), ExportSettings(explain=True)
    model = replace(model, card={**model.card, "groups": {"person": ["age", "member", "rate"]}})
    rows = make_rows(40, seed=1)
    content = onnx_bytes(model, settings)
    found = run(content, graph_inputs(model, model.features.encode(rows), settings))
    expected = model.explain(rows, method="eigenvector")
    assert expected.terms == ("person", "income", "city", "city & income")
    np.testing.assert_allclose(found["contributions"], expected.contributions, atol=1e-9)
    total = found["baseline"] + found["contributions"].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(total, found["score"], atol=1e-9)
    proto = onnx.load_from_string(content)
    facts = {prop.key: prop.value for prop in proto.metadata_props}
    assert json.loads(facts["eigenserve.terms"]) == list(expected.terms)
    assert json.loads(facts["eigenserve.groups"]) == {"person": ["age", "member", "rate"]}
    assert facts["eigenserve.method"] == "eigenvector"
    documents = {output.name: output.doc_string for output in proto.graph.output}
    assert documents["contributions"] == "by the method eigenvector, of person, income, city, city & income"


def test_a_file_without_explanations_names_no_method():
    from eigenserve.model.onnx import onnx_bytes

    facts = {prop.key for prop in onnx.load_from_string(onnx_bytes(make_model())).metadata_props}
    assert "eigenserve.method" not in facts
