"""Exported files give in other people's runtimes what the model gives here."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

from eigenserve.model.onnx import (  # noqa: E402
    ExportSettings,
    OnnxError,
    agreement,
    graph_inputs,
    onnx_bytes,
    to_onnx,
)
from eigenserve.model.onnx.export import to_bytes  # noqa: E402


def newest_opset():
    """The newest opset that both the installed onnx and the installed onnxruntime know."""
    for opset in range(onnx.defs.onnx_opset_version(), 17, -1):
        info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, [1])
        graph = onnx.helper.make_graph([], "same", [info], [info])
        domain = [onnx.helper.make_opsetid("", opset)]
        try:
            version = onnx.helper.find_min_ir_version_for(domain)
            proto = onnx.helper.make_model(graph, opset_imports=domain, ir_version=version)
            onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception:  # onnxruntime's have no base class of their own
            continue
        return opset
    return 17


OPSETS = sorted({17, 18, 21, newest_opset()})
FEATURES = FeatureSpace(
    (
        Feature("area", "numeric", 3.0, center=2.5, scale=1.5, low=0.0, high=6.0),
        Feature("income", "numeric", 30.0, "log", center=3.0, scale=0.8, low=2.0, high=900.0, missing=True),
        Feature("garden", "boolean", True, missing=True),
        Feature("score", "categorical", "b", categories=("a", "b", "3"), missing=True),
        Feature("", "categorical", "y", categories=("x", "y")),
        Feature("rooms", "numeric", 4.0, "log", center=1.0, scale=0.5, low=1.0, high=9.0),
        Feature("sold", "datetime", 19000.0, center=19000.0, scale=500.0, low=18000.0, high=20000.0, missing=True),
        Feature("sold (hour)", "numeric", 12.0, center=12.0, scale=7.0, high=24.0, source="sold", cycle="hour"),
        Feature("weekday", "numeric", 3.0, center=3.0, high=6.0, missing=True, source="sold", cycle="weekday"),
    )
)
TERMS = tuple(
    Term(" & ".join(FEATURES.names[i] for i in features), features)
    for features in [(0,), (1,), (2,), (3,), (4,), (0, 1), (3, 4), (4, 5), (1, 3), (6,), (7,), (8,)]
)
#: Every kind of curve: extended or not, with missing values or not, one knot or many, one path or many.
CURVES = CurveSet(
    (
        Curve(0, numeric=(0,), direction=(1.0,), knots=(-1.0, 1.0), extend=True),
        Curve(0, numeric=(0,), direction=(1.0,), knots=(-1.5, -0.2, 0.0, 0.7, 1.9)),
        Curve(1, numeric=(1,), direction=(1.0,), knots=(-1.0, 0.5, 2.0), missing=True),
        Curve(2, numeric=(2,), direction=(1.0,), knots=(0.0, 1.0), missing=True),
        Curve(3, categorical=(3,), num_codes=(4,), missing=True),
        Curve(4, categorical=(4,), num_codes=(3,)),
        Curve(5, numeric=(0, 1), direction=(0.6, 0.8), knots=tuple(np.linspace(-2, 2, 17)), missing=True),
        Curve(5, numeric=(0, 1), direction=(-0.8, 0.6), knots=(0.0,), missing=True),
        Curve(6, categorical=(3, 4), num_codes=(4, 3), missing=True),
        Curve(7, numeric=(5,), direction=(1.0,), categorical=(4,), num_codes=(3,), knots=(-1.0, 0.3, 1.0)),
        Curve(
            8,
            numeric=(1,),
            direction=(1.0,),
            categorical=(3,),
            num_codes=(4,),
            knots=(-1.0, 1.0),
            missing=True,
        ),
        Curve(9, numeric=(6,), direction=(1.0,), knots=(-1.0, 0.0, 1.0), missing=True),
        Curve(10, numeric=(7,), direction=(1.0,), knots=(-1.5, 0.0, 1.5)),
        Curve(11, numeric=(8,), direction=(1.0,), knots=(-3.0, 0.0, 1.0, 3.0), missing=True),
        Curve(2, categorical=(2,), num_codes=(2,), missing=True),
    )
)
CLASSES = {"binary": (False, True), "multiclass": ("red", "green", "blue")}
TASKS = ["regression", "binary", "multiclass", "poisson"]


def random_model(task="regression", dim=7, eig_idx=3, members=2, seed=0):
    rng = np.random.default_rng(seed)
    outputs = 3 if task == "multiclass" else 1
    shape = (outputs * members, dim)
    pencil = TridiagonalPencil(
        terms=TERMS,
        curves=CURVES,
        constant_diag=rng.standard_normal(shape),
        constant_off_diag=rng.standard_normal((shape[0], dim - 1)),
        diag=0.3 * rng.standard_normal((CURVES.num_matrices, *shape)),
        off_diag=0.3 * rng.standard_normal((CURVES.num_matrices, shape[0], dim - 1)),
    )
    weights = rng.random(members)
    return SpectralModel(
        task=task,
        target="price",
        features=FEATURES,
        ensemble=SpectralEnsemble(pencil, eig_idx, weights / weights.sum(), rng.standard_normal(outputs)),
        classes=CLASSES.get(task, ()),
        card={"name": "houses", "version": 3},
    )


def random_rows(count, seed=1):
    """Rows as people send them, missing, unknown and extreme values among them."""
    rng = np.random.default_rng(seed)
    columns = {
        "area": [*rng.uniform(-20, 30, count)],
        "income": [*rng.lognormal(3, 2, count)],
        "garden": [bool(value) for value in rng.integers(0, 2, count)],
        "score": [["a", "b", "3", "other"][i] for i in rng.integers(0, 4, count)],
        "": [["x", "y", "z"][i] for i in rng.integers(0, 3, count)],
        "rooms": [*rng.uniform(-1, 12, count)],
        "sold": [str(np.datetime64(int(day), "D")) for day in rng.integers(17000, 21000, count)],
    }
    for name, values in columns.items():
        columns[name] = [None if rng.random() < 0.15 else value for value in values]
    return columns


def raw_inputs(rows):
    """The inputs as the documentation describes them, without any help from the package."""
    names = {"score": "feature.score", "": "feature."}
    inputs = {}
    for name, values in rows.items():
        if name in ("score", ""):
            column = np.array(["" if value is None else value for value in values], object)
        elif name == "sold":
            column = np.array(["NaT" if value is None else value for value in values], "datetime64[D]")
            column = np.where(np.isnat(column), math.nan, column.astype(np.float64))
        else:
            column = np.array([math.nan if value is None else value for value in values], np.float64)
        inputs[names.get(name, name)] = column[:, None]
    return inputs


def run(content, inputs, threads=1):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return dict(zip([out.name for out in session.get_outputs()], session.run(None, inputs), strict=True))


def assert_agrees(model, columns, found, settings):
    for name, ratio in agreement.compare(model, columns, found, settings).items():
        assert ratio <= 1.0, f"{name} differs {ratio} times as much as allowed"


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("task", TASKS)
def test_onnxruntime_gives_the_models_predictions_and_explanations(task, precision):
    model, rows = random_model(task), random_rows(300)
    settings = ExportSettings(explain=True, precision=precision)
    found = run(onnx_bytes(model, settings), raw_inputs(rows))
    assert_agrees(model, model.features.encode(rows), found, settings)
    expected, explanation = model.predict(rows), model.explain(rows, method="eigenvector")
    tolerance = agreement.TOLERANCE[precision]
    # The plain reading of the promise, where no gap is so narrow as to blur the eigenvector.
    clear = explanation.gap > (1e-4 if precision == "float64" else 1e-2)
    assert clear.mean() > 0.5
    size = np.abs(explanation.contributions).max(axis=1)[clear, None]
    difference = np.abs(found["contributions"] - explanation.contributions)[clear]
    assert (difference <= tolerance * size).all()
    if model.classes:
        assert (found["label"][:, 0] == expected).all()
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), rtol=tolerance)
    else:
        np.testing.assert_allclose(found["prediction"][:, 0], expected, rtol=tolerance)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_number_that_hardly_matters_is_exported_too(precision):
    """Its slope is a difference of matrices that agree to 1e-8, as of a feature that must rise and has no effect."""
    model = random_model()
    pencil = model.ensemble.pencil
    curve = CURVES.curves.index(next(curve for curve in CURVES.curves if curve.numeric == (8,)))
    first, diag, off_diag = CURVES.offsets[curve], pencil.diag.copy(), pencil.off_diag.copy()
    for k in range(1, len(CURVES.curves[curve].knots)):
        diag[first + k], off_diag[first + k] = diag[first] + 1e-8 * k, off_diag[first]
    flat = replace(model, ensemble=replace(model.ensemble, pencil=replace(pencil, diag=diag, off_diag=off_diag)))
    settings = ExportSettings(explain=True, precision=precision)
    content = onnx_bytes(flat, settings)
    rows = random_rows(50)
    assert_agrees(flat, flat.features.encode(rows), run(content, raw_inputs(rows)), settings)


@pytest.mark.parametrize("explain", [False, True])
def test_a_row_whose_terms_cancel_is_not_refused(explain):
    model = random_model(dim=1, eig_idx=0)
    pencil = model.ensemble.pencil
    one = agreement.probe_columns(FEATURES)[[5]]
    diag, _ = pencil.matrices(CURVES.walk(FEATURES.coordinates(one)))
    balanced = replace(pencil, constant_diag=pencil.constant_diag - diag[0])
    ensemble = replace(model.ensemble, pencil=balanced, offset=np.zeros(1))
    onnx_bytes(replace(model, ensemble=ensemble), ExportSettings(explain=explain, precision="float32"))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("runtime", ["onnxruntime", "onnx.reference"])
def test_every_opset_runs_in_both_runtimes(runtime, opset):
    model, rows = random_model("multiclass", dim=4, eig_idx=1), random_rows(12)
    settings = ExportSettings(explain=True, opset=opset)
    content = onnx_bytes(model, settings)
    proto = onnx.load_from_string(content)
    assert {domain.domain: domain.version for domain in proto.opset_import} == {"": opset, "ai.onnx.ml": 2}
    if runtime == "onnxruntime":
        found = run(content, raw_inputs(rows))
    else:
        if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 22):
            pytest.skip("the Scan of onnx.reference sees outer values from onnx 1.22 on")
        evaluator = reference.ReferenceEvaluator(proto)
        # It computes in NumPy, which warns of the divisions by zero that the graph means.
        with np.errstate(all="ignore"):
            found = dict(zip(evaluator.output_names, evaluator.run(None, raw_inputs(rows)), strict=True))
    assert_agrees(model, model.features.encode(rows), found, settings)


@pytest.mark.parametrize(("dim", "eig_idx"), [(1, 0), (2, 0), (2, 1), (3, 2), (45, 0), (45, 15), (46, 45)])
def test_small_and_large_matrices_and_the_ends_of_the_spectrum(dim, eig_idx):
    model, settings = random_model(dim=dim, eig_idx=eig_idx, members=1), ExportSettings(explain=True)
    rows = random_rows(50)
    assert_agrees(model, model.features.encode(rows), run(onnx_bytes(model, settings), raw_inputs(rows)), settings)


def test_the_score_is_the_baseline_and_the_contributions():
    content = onnx_bytes(random_model("binary"), ExportSettings(explain=True))
    found = run(content, raw_inputs(random_rows(200)))
    total = found["baseline"] + found["contributions"].sum(axis=1, keepdims=True)
    # The design's promise; both sides are right to some 1e-14.
    np.testing.assert_allclose(total, found["score"], rtol=1e-9, atol=1e-9)


def test_one_file_takes_batches_of_any_size():
    model, settings = random_model("multiclass"), ExportSettings(explain=True)
    content, rows = onnx_bytes(model, settings), random_rows(4096)
    inputs = raw_inputs(rows)
    whole = run(content, inputs, threads=2)
    assert_agrees(model, model.features.encode(rows), whole, settings)
    for count in (0, 1, 7):
        part = run(content, {name: values[:count] for name, values in inputs.items()})
        for name, values in part.items():
            assert len(values) == count
            if name == "label":
                assert (values == whole[name][:count]).all()
            else:
                # Other batch sizes take other shifts on the way, hence not the same bits.
                np.testing.assert_allclose(values, whole[name][:count], rtol=1e-9, atol=1e-9)


def test_an_invalid_value_spoils_its_row_alone():
    content, inputs = onnx_bytes(random_model(), ExportSettings(explain=True)), raw_inputs(random_rows(9))
    clean = run(content, inputs)
    inputs["area"][2], inputs["income"][5], inputs["garden"][7] = math.inf, -math.inf, 0.5
    inputs["area"][8] = 1e308  # beyond what the arithmetic can hold, on a curve that extends
    spoilt = run(content, inputs)
    for name, values in spoilt.items():
        assert np.isnan(values[[2, 5, 7]]).all(), name
        others = [0, 1, 3, 4, 6]
        np.testing.assert_allclose(values[others], clean[name][others], rtol=1e-12, atol=1e-12, err_msg=name)
    assert np.isfinite(clean["prediction"]).all()


def test_the_same_model_gives_the_same_bytes():
    settings = ExportSettings(explain=True)
    assert onnx_bytes(random_model(), settings) == onnx_bytes(random_model(), settings)


def test_the_file_is_hardly_larger_than_the_weights():
    model = random_model("multiclass", dim=45, eig_idx=20)
    pencil = model.ensemble.pencil
    arrays = (pencil.diag, pencil.off_diag, pencil.constant_diag, pencil.constant_off_diag)
    weights = sum(array.nbytes for array in arrays)
    assert len(onnx_bytes(model, ExportSettings(explain=True))) <= 2 * weights + 64_000


def test_the_file_says_what_it_is():
    model = random_model("multiclass")
    proto = onnx.load_from_string(onnx_bytes(model, ExportSettings(explain=True)))
    facts = {prop.key: prop.value for prop in proto.metadata_props}
    assert facts["model_license"]
    assert (facts["eigenserve.name"], facts["eigenserve.version"], facts["eigenserve.task"]) == (
        "houses",
        "3",
        "multiclass",
    )
    features = json.loads(facts["eigenserve.features"])
    inputs = [feature["input"] for feature in features if not feature["cycle"]]
    assert inputs == [value.name for value in proto.graph.input]
    assert [feature["name"] for feature in features] == list(FEATURES.names)
    assert features[3]["categories"] == ["a", "b", "3"]
    assert json.loads(facts["eigenserve.terms"]) == [term.name for term in TERMS]
    assert json.loads(facts["eigenserve.classes"]) == ["red", "green", "blue"]
    assert "0 to 6 in training" in proto.graph.input[0].doc_string


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_categories_as_codes_need_no_operator_outside_ai_onnx(task):
    model, settings = random_model(task), ExportSettings(explain=True, categories="codes")
    content, columns = onnx_bytes(model, settings), model.features.encode(random_rows(100))
    proto = onnx.load_from_string(content)
    assert [domain.domain for domain in proto.opset_import] == [""]
    assert_agrees(model, columns, run(content, graph_inputs(model, columns, settings)), settings)


def test_a_code_that_is_none_counts_as_unknown():
    model, settings = random_model(), ExportSettings(categories="codes")
    columns = model.features.encode(random_rows(3))
    columns[:, 3] = [3.0, -1.0, 17.0]
    columns[1:, [0, 1, 2, 4, 5, 6]] = columns[0, [0, 1, 2, 4, 5, 6]]
    found = run(onnx_bytes(model, settings), graph_inputs(model, columns, settings))["prediction"]
    assert (found == found[0]).all()


def test_predictions_do_not_change_when_explanations_are_asked_for():
    model, inputs = random_model("poisson"), raw_inputs(random_rows(40))
    alone = run(onnx_bytes(model), inputs)
    assert list(alone) == ["prediction"]
    explained = run(onnx_bytes(model, ExportSettings(explain=True)), inputs)
    np.testing.assert_allclose(alone["prediction"], explained["prediction"], rtol=1e-12)


def test_an_empty_text_that_is_a_category_is_refused_where_it_also_means_missing():
    model = random_model()
    feature = Feature("score", "categorical", "b", categories=("", "b", "3"), missing=True)
    features = FeatureSpace((*FEATURES.features[:3], feature, *FEATURES.features[4:]))
    model = SpectralModel("regression", "price", features, model.ensemble)
    with pytest.raises(ValueError, match="as codes"):
        onnx_bytes(model)
    assert onnx_bytes(model, ExportSettings(categories="codes"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"opset": 16}, "opset must be in"),
        ({"precision": "half"}, "precision"),
        ({"categories": "x"}, "categories"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ExportSettings(**settings)


def test_a_file_that_does_not_agree_is_refused():
    settings = ExportSettings(explain=True)
    other = to_bytes(to_onnx(random_model(seed=1), settings))
    with pytest.raises(OnnxError, match="'prediction' must agree"):
        agreement.check_agreement(random_model(seed=0), other, settings)
