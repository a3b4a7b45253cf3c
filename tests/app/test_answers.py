"""Answers hold numbers only."""

import numpy as np
import pytest
from made_models import make_model

from app.answers import predictions
from app.problems import ProblemError
from app.registry import ServedModel


@pytest.mark.parametrize("score", [np.inf, -np.inf, np.nan])
def test_a_score_beyond_float64_is_refused_by_its_row(score):
    scores = np.array([[1.0], [score], [2.0]])
    with pytest.raises(ProblemError) as caught:
        predictions(ServedModel("price", 1, make_model()), scores)
    assert caught.value.status == 422
    assert caught.value.errors[0][0] == ("instances", 1)


def test_a_rate_beyond_float64_is_refused_by_its_row():
    with pytest.raises(ProblemError, match="prediction is no finite number") as caught:
        predictions(ServedModel("price", 1, make_model("poisson")), np.array([[1.0], [2.0], [800.0]]))
    assert caught.value.errors[0][0] == ("instances", 2)
