"""The model class of AutoGluon and TabArena, on a stand-in for its base class with the methods that it documents."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from eigenserve.model.kernels.threads import num_threads, set_num_threads


class AbstractModel:
    """Stand in for autogluon.core.models.AbstractModel (1.6): parameters, preprocessing, probabilities."""

    def __init__(self, problem_type, hyperparameters):
        self.problem_type, self.params = problem_type, {}
        self._set_default_params()
        self.params |= hyperparameters

    def _set_default_param_value(self, name, value):
        self.params.setdefault(name, value)

    def _get_model_params(self):
        return dict(self.params)

    def preprocess(self, X, **kwargs):
        return self._preprocess(X, **kwargs)

    def _preprocess(self, X, **kwargs):
        return X

    def _convert_proba_to_unified_form(self, chances):
        return chances[:, 1] if self.problem_type == "binary" else chances


@pytest.fixture
def model_class(monkeypatch):
    for name in ("autogluon", "autogluon.core", "autogluon.core.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["autogluon.core.models"].AbstractModel = AbstractModel
    monkeypatch.delitem(sys.modules, "benchmarks.tabarena", raising=False)
    threads = num_threads()
    yield importlib.import_module("benchmarks.tabarena").EigenserveModel
    set_num_threads(threads)
    sys.modules.pop("benchmarks.tabarena")


@pytest.mark.parametrize("problem", ["binary", "multiclass", "regression"])
def test_it_fits_within_the_limit_and_answers_in_the_form_asked_for(model_class, problem):
    rng = np.random.default_rng(0)
    # Names of any type, categories and gaps, as AutoGluon hands them over.
    frame = pd.DataFrame({0: rng.standard_normal(120), "kind": pd.Categorical(rng.choice(["a", "b"], 120))})
    frame.loc[::9, 0] = np.nan
    score = frame[0].fillna(-1.0) + (frame["kind"] == "a")
    target = score if problem == "regression" else pd.qcut(score, 3 if problem == "multiclass" else 2, labels=False)
    model = model_class(problem, {"dim": 3, "members": 1})
    assert problem in model_class.supported_problem_types()
    model._fit(frame, target, time_limit=0.5, num_cpus=1)
    assert model.model.budget == pytest.approx(0.4)
    predicted = model._predict_proba(frame)
    if problem == "multiclass":
        assert (predicted.argmax(axis=1) == target).mean() > 0.8
    else:
        assert predicted.shape == (120,)
        assert np.corrcoef(predicted, score)[0, 1] > 0.7
