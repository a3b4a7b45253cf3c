"""Report what a user should know about a table before trusting a model of it; nothing is dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pandas as pd

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.data.categories.census import Census
from eigenserve.training.data.identifiers import differs_everywhere
from eigenserve.training.data.target import Target
from eigenserve.training.evaluation.leakage import explained_alone

#: Rows on which columns are looked at closely; what is found there is confirmed on all of them. A share is
#: then known to +-1%, and 1,000,000 rows take no longer than 20,000 but for hashing them.
SAMPLE_ROWS = 20_000
#: A column missing in more rows than this says more by being there than by its value.
MOSTLY_MISSING = 0.5
#: A category seen in fewer rows than this, on average, does not have an effect that could be distinguished from chance.
ROWS_PER_CATEGORY = 10
#: With fewer categories the rare ones are merged and nobody minds.
MANY_CATEGORIES = 50
#: Classes of few rows that are named one by one.
NAMED_CLASSES = 3
#: A class rarer than this (or, of many, than half its equal share) makes accuracy a poor measure: always saying the
#: other is 95% right.
RARE_CLASS = 0.05
#: Rows of a class below which nothing can be learnt of it, nor measured.
FEW_ROWS = 20
#: Share of the target's variance above which a column that has it all alone is suspected of a leak. Honest
#: single columns stay below (measured: 0.93 for petal width and iris, 0.75 for carat-like price tables).
LEAK = 0.98
#: With weights that differ much, a fit rests on fewer rows than there are; below this share of them a note says so.
EFFECTIVE_SHARE = 0.5
#: Names in one sentence.
MAX_NAMES = 5


def audit(
    table: pd.DataFrame,
    space: FeatureSpace,
    columns: FloatArray,
    target: Target,
    weight: FloatArray | None = None,
    census: Census | None = None,
) -> list[str]:
    """Describe what to know of a table's features and target, each sentence with what to do about it.

    Rows are sampled where there are many, always the same ones.

    Args:
        table: the features of N rows.
        space: how they are encoded.
        columns: (N, F), encoded.
        target: of the N rows.
        weight: (N,), positive, how much each row counts; all the same without.
        census: of the categories of more rows than these, if there is one.
    """
    rng = np.random.default_rng(0)
    part = np.sort(rng.permutation(len(table))[:SAMPLE_ROWS])
    sample, values = table.iloc[part].reset_index(drop=True), target.values[part]
    names = list(space.input_names)
    texts = {feature.name for feature in space.features if feature.kind == "categorical"}
    codes = {
        # Encoded, rare categories would be one.
        name: _codes(sample[name]) if name in texts else columns[part, i]
        for i, name in enumerate(names)
    }
    notes: list[str] = []
    constant = [name for name in names if _is_constant(sample[name]) and _is_constant(table[name])]
    if constant:
        notes.append(f"{_names(constant)} the same in every row and cannot help: --exclude {_option(constant)}")
    varying = [name for name in names if name not in constant]
    notes += _duplicates(table, codes, varying)
    ids = [name for name in varying if differs_everywhere(sample[name]) and differs_everywhere(table[name])]
    if ids:
        notes.append(
            f"{_names(ids)} different in every row, as an identifier is: a model of it does not generalise to new "
            f"rows, --exclude {_option(ids)} unless it is a measurement"
        )
    for name in varying:
        if name in ids:
            continue
        explained = explained_alone(codes[name], values, len(target.classes), rng)
        if explained >= LEAK:
            notes.append(
                f"{name!r} alone explains {min(explained, 0.9999):.2%} of {target.name!r}: if it is not known "
                f"before {target.name!r} is, the model cheats, --exclude {_option([name])}"
            )
        notes += _column_notes(name, table[name], sample[name] if name in texts else None, census)
    notes += _class_notes(target)
    if weight is not None:
        notes += _weight_notes(weight)
    return notes


def _codes(column: pd.Series) -> FloatArray:
    """Code each different value; NaN where missing."""
    codes = pd.factorize(column)[0].astype(np.float64)
    codes[codes < 0] = np.nan
    return codes


def _is_constant(column: pd.Series) -> bool:
    """Return whether there is one value in every row, or none in any; a value that is there or not does vary."""
    present = column.dropna()
    return len(present) == 0 or (len(present) == len(column) and not (present != present.iloc[0]).any())


def _duplicates(table: pd.DataFrame, codes: dict[str, FloatArray], names: list[str]) -> Iterator[str]:
    """Yield columns that say the same as an earlier one, in the same words or in others."""
    groups: dict[bytes, list[str]] = defaultdict(list)
    for name in names:
        renumbered = pd.factorize(codes[name])[0]
        # Columns in which every row differs say the same up to renaming whatever they mean: compare those as they are.
        unique = renumbered.max() + 1 > 0.5 * len(renumbered)
        groups[codes[name].tobytes() if unique else renumbered.tobytes()].append(name)
    for first, *others in groups.values():
        same = [n for n in others if _say_the_same(table[first], table[n])]
        if same:
            yield (
                f"{_names(same)} the same as {first!r}, in these or other words: effects are split between them "
                f"arbitrarily, --exclude {_option(same)}"
            )


def _say_the_same(a: pd.Series, b: pd.Series) -> bool:
    """Return whether all rows agree, not just the sampled ones."""
    first, second = pd.factorize(a)[0], pd.factorize(b)[0]
    return bool((first == second).all())


def _column_notes(name: str, column: pd.Series, sample: pd.Series | None, census: Census | None) -> Iterator[str]:
    """Yield notes about one column; ``sample`` is a part of its rows if it has categories."""
    missing = float(column.isna().mean())
    if missing > MOSTLY_MISSING:
        yield (
            f"{name!r} is missing in {missing:.0%} of the rows: make sure that it is missing for the same reasons "
            f"where the model will be used, or --exclude {_option([name])}"
        )
    if sample is None or sample.nunique() <= MANY_CATEGORIES:
        return
    counts = None if census is None else census.counts.get(name)
    if counts is None:
        categories, present, rare = column.nunique(), int(column.notna().sum()), "count as unknown"
    else:
        categories, present, rare = len(counts) - 1, int(counts.sum()), "count as little more than unknown"
    if present < ROWS_PER_CATEGORY * categories:
        yield (
            f"{name!r} has {categories:,} categories in {present:,} rows, too few rows for each: rare ones {rare}; "
            "coarser groups would say more"
        )


def _class_notes(target: Target) -> Iterator[str]:
    """Name classes of few rows, all in one note where there are many such."""
    if not target.classes:
        return
    rows = len(target.values)
    counts = np.bincount(target.values.astype(int), minlength=len(target.classes))
    few = [(label, int(count)) for label, count in zip(target.classes, counts, strict=True) if count < FEW_ROWS]
    if len(few) > NAMED_CLASSES:
        shown = ", ".join(f"{label!r} ({count})" for label, count in few[:NAMED_CLASSES])
        yield (
            f"{len(few)} classes have fewer than {FEW_ROWS} rows, such as {shown}: too few to learn much from; merge "
            "them with others, or collect more"
        )
        return
    for label, count in few:
        yield f"class {label!r} has {count} rows: too few to learn from; merge it with another, or collect more"
    for label, count in zip(target.classes, counts, strict=True):
        # Of many classes each is rare.
        if FEW_ROWS <= count < min(RARE_CLASS, 0.5 / len(target.classes)) * rows:
            yield (
                f"class {label!r} is rare ({count / rows:.1%} of the rows): judge by log_loss and auc, not by "
                "accuracy; --class-weight balanced if missing it costs more than a false alarm"
            )


def _weight_notes(weight: FloatArray) -> Iterator[str]:
    # Kish, Survey sampling, 1965: as many rows of equal weight know a mean as well.
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    if effective < EFFECTIVE_SHARE * len(weight):
        heaviest = np.sort(weight)[::-1][: max(1, len(weight) // 100)].sum() / weight.sum()
        yield (
            f"the weights make {len(weight):,} rows count as {effective:,.0f}, and the heaviest 1% of them have "
            f"{heaviest:.0%} of all weight: a few rows decide what is learnt"
        )


def _names(names: list[str]) -> str:
    """Begin a sentence: "'a' is", "'a' and 'b' are", ..."""
    shown = [repr(name) for name in names[:MAX_NAMES]]
    if len(names) > MAX_NAMES:
        shown.append(f"{len(names) - MAX_NAMES} more")
    return f"{shown[0]} is" if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]} are"


def _option(names: list[str]) -> str:
    return ",".join(names) if all(" " not in name for name in names) else f'"{",".join(names)}"'
