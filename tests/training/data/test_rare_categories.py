"""Categories that are rare each, but many together, are grouped and not lost; a few odd ones stay unknown."""

import numpy as np
import pandas as pd

from eigenserve.training.data.schema import infer_features


def categories(cells):
    return infer_features(pd.DataFrame({"c": cells})).features[0].categories


def test_many_categories_of_which_each_is_rare_are_all_kept():
    """Each has 4 of 10,000 rows: fewer than one of 2,000, and none would be left."""
    assert len(categories([f"s{i % 2_500}" for i in range(10_000)])) == 2_500


def test_frequent_categories_next_to_many_rare_ones_keep_the_rare_ones():
    cells = [f"big{i % 10}" for i in range(9_000)] + [f"s{i % 500}" for i in range(1_000)]
    assert len(categories(cells)) == 510


def test_slips_of_few_rows_are_unknown():
    cells = [f"big{i % 40}" for i in range(9_880)] + [f"slip{i % 60}" for i in range(120)]
    assert len(categories(cells)) == 40
    assert np.all([name.startswith("big") for name in categories(cells)])
