"""Costs: what each phase of a fit takes in seconds and bytes, from sizes that are known before anything is made.

Measured on two busy cores of an AMD EPYC at about 2.6 GHz (`training.planning.machine` scales them), each rounded up:
a plan that is too long costs a candidate, one that is too short a late answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenserve.training.additive import gam, pairs, selective
from eigenserve.training.curves.knots import main_knots
from eigenserve.training.curves.levels import FACTORS, MAX_PLACES, ROWS_PER_KNOT
from eigenserve.training.curves.pair_curves import coarse_resolution, fine_resolution
from eigenserve.training.kernels.layout import BLOCK, blocks_per_matrix

#: Microseconds of one core: to infer, encode and audit a number, and a category; to place a row on a curve, with its
#: share in the choice of knots; a row, curve and block of lanes in the choice of additive penalties, and in the fit by
#: those chosen; a row judged for finer knots of one feature; a row of a pair in the search for pairs.
NUMBER_US, CATEGORY_US, PLACE_US, CHOICE_US, FIT_US, KNOT_US, PAIR_US = 0.2, 4.0, 0.25, 2.5, 0.6, 1.2, 1.2
#: And to read a text that is a price, a moment or the like.
TEXT_US = 6.0
#: What selective additive models and those with pairs take more, in fits of the plain and the linear one.
SELECTIVE_FITS = 4
#: Lanes that cost no more than one.
LANES = 16
#: Seconds for the report, its charts and the checkpoint, and microseconds for each curve of a row that is explained.
REPORT_S, EXPLAINED_US = 2.0, 0.5
#: Rows and classes that a report explains; rows that it scores, and whose typicality it measures.
REPORT_ROWS, REPORT_CLASSES, SCORED_ROWS = 4_000, 6, 200_000
#: Microseconds of one core for each feature of such a row, for each of its members, and for each feature of any row.
SCORED_US, MEMBER_US, HASHED_US = 0.25, 0.15, 0.1
#: Optimiser steps of the shortest training that is worth its while.
LEAST_STEPS = 300
#: The interpreter and the libraries, and what else is there for each cell, encoded.
BASE_BYTES, CELL_BYTES = 300_000_000, 24


@dataclass(frozen=True)
class Sizes:
    """Describe how large a table is.

    Attributes:
        rows: N.
        numbers: features that are numbers, dates or booleans.
        levels: of each categorical feature.
        outputs: scores of a row.
        table_bytes: of the table itself.
        links: how many links are tried.
        spelled: features whose texts are read as numbers or dates.
    """

    rows: int
    numbers: int
    levels: tuple[int, ...]
    outputs: int
    table_bytes: int = 0
    links: int = 1
    spelled: int = 0

    @property
    def features(self) -> int:
        """Count all features."""
        return self.numbers + len(self.levels)


@dataclass(frozen=True)
class Scope:
    """Describe how much a fit does.

    Attributes:
        rows: that it is trained on and judged by.
        features: kept at most.
        folds: for judging.
        additive: whether an additive model is fitted.
        knot_features: features that are tried with more knots.
        pair_features: features whose pairs are tried.
        pair_rows: that finer knots and pairs are judged on.
        candidates: ways of training that are tried.
        members: of the finished model.
        steps: of each member's training at least.
        levels: resolutions of the curves of single features.
    """

    rows: int
    features: int
    folds: int
    additive: bool
    knot_features: int
    pair_features: int
    pair_rows: int
    candidates: int
    members: int
    steps: int = LEAST_STEPS
    levels: int = len(FACTORS)


def phase_seconds(sizes: Sizes, scope: Scope, cores: int) -> dict[str, float]:
    """Estimate seconds on the wall by phase; "search" and "refit" are the shortest that are worth their while."""
    rows, outputs = scope.rows, sizes.outputs
    numbers, categories = _kept(sizes, scope)
    curves = numbers + categories
    judged = min(rows, scope.pair_rows)
    tried = min(scope.pair_features, curves)
    couples = tried * (tried - 1) / 2 + 6 * pairs.RECONSIDERED * (tried > 1)
    explained = min(rows, REPORT_ROWS) * min(outputs, REPORT_CLASSES)
    step = step_seconds(outputs, *_curves_and_params(sizes, scope), rows)
    return {
        "columns": 1e-6 * rows * (NUMBER_US * numbers + CATEGORY_US * categories)
        + 1e-6 * sizes.rows * sizes.spelled * TEXT_US,
        "additive": sizes.links * scope.additive * _additive_seconds(sizes, scope) / cores
        + 1e-6 * sizes.links * rows * curves * PLACE_US,
        "knots": sizes.links * 1e-6 * judged * min(scope.knot_features, numbers) * KNOT_US * (1 + outputs / LANES),
        "pairs": sizes.links * 1e-6 * judged * couples * PAIR_US * (1 + outputs / LANES) / cores
        + 1e-6 * sizes.links * rows * _curves_and_params(sizes, scope, all_levels=True)[0] * PLACE_US / 2,
        "search": sizes.links
        * scope.candidates
        * scope.folds
        * (scope.steps * step + _score_seconds(sizes, scope))
        / cores,
        "refit": scope.members * scope.steps * step / cores,
        "report": REPORT_S
        + 1e-6 * EXPLAINED_US * explained * scope.members * (4 + curves) / cores
        + 1e-6 * min(rows, SCORED_ROWS) * (SCORED_US * curves + MEMBER_US * scope.members * outputs)
        + 1e-6 * rows * HASHED_US * curves,
    }


def phase_bytes(sizes: Sizes, scope: Scope, cores: int) -> dict[str, int]:
    """Estimate the bytes of memory that are in use at the peak of each phase."""
    rows, outputs = scope.rows, sizes.outputs
    curves, params = _curves_and_params(sizes, scope, all_levels=True)
    kept = BASE_BYTES + sizes.table_bytes + CELL_BYTES * rows * sum(_kept(sizes, scope))
    lanes = LANES * int(np.ceil((scope.folds + 1) * outputs / LANES))
    places = 8 * rows * curves
    member = 4 * BLOCK * params * outputs
    found = {
        "columns": kept,
        "additive": kept + places + scope.additive * 8 * 8 * min(rows * lanes, gam.MAX_ROW_LANES + LANES * rows),
        "pairs": kept + places + 40 * min(rows, scope.pair_rows) * 64,
        "search": kept + places + 9 * cores * member + 8 * rows * outputs * (3 * scope.candidates + 6),
        "refit": kept + places + (scope.members * 8 + 9 * cores) * member,
    }
    return {phase: int(size) for phase, size in found.items()}


def step_seconds(
    outputs: int, curves: float, params: float, rows: int, batch: int | None = None, dim: int = 15
) -> float:
    """Estimate how long an optimiser step takes on one core.

    Measured on two busy cores, dim 7 to 25, 8 to 1,000 curves: 0.06 microseconds for a row and output, 0.01 for each
    row of its matrix; for each of its blocks on each curve 0.003 from the nearest cache, and 0.006 more where a
    member's matrices outgrow it; 0.4, and 0.006 for each curve, where the rows outgrow the last cache; 0.004 for each
    block of parameters.
    """
    if batch is None:
        batch = int(np.clip(rows // 8, 32, 256))
    blocks = blocks_per_matrix(dim, 1)
    outgrown = min(1.0, params * outputs * blocks * BLOCK * 4 / 2e6)
    cold = min(1.0, max(0.0, rows * curves * 8 / 32e6 - 0.25))
    row = outputs * (0.06 + 0.01 * dim + blocks * curves * (0.003 + 0.006 * outgrown)) + cold * (0.4 + 0.006 * curves)
    return 1e-6 * (batch * row + 0.004 * blocks * params * outputs)


def _kept(sizes: Sizes, scope: Scope) -> tuple[float, float]:
    share = min(1.0, scope.features / max(1, sizes.features))
    return share * sizes.numbers, share * len(sizes.levels)


def _curves_and_params(sizes: Sizes, scope: Scope, all_levels: bool = False) -> tuple[float, float]:
    """Count curves and parameters, with as many pairs as are usually found, and with all resolutions or the first."""
    numbers, categories = _kept(sizes, scope)
    share = categories / max(1, len(sizes.levels))
    couples = min(pairs.MAX_PAIRS, scope.pair_features // 2)
    coarse, fine = coarse_resolution(scope.rows), fine_resolution(scope.rows)
    curves = numbers + categories + couples * coarse.directions
    params = numbers * main_knots(scope.rows) + share * sum(sizes.levels) + couples * coarse.directions * coarse.knots
    if couples and fine is not None:
        curves, params = curves + fine.directions, params + fine.directions * fine.knots
    if all_levels and scope.levels > 1:
        finer = [f for f in FACTORS[1:] if f * main_knots(scope.rows) * ROWS_PER_KNOT <= scope.rows]
        share = min(1.0, MAX_PLACES / max(1.0, scope.rows * numbers * len(finer)))
        curves += share * numbers * len(finer)
        params += share * numbers * sum(finer) * main_knots(scope.rows)
    return curves, params


def _additive_seconds(sizes: Sizes, scope: Scope) -> float:
    """Estimate the seconds of one core for the choice of penalties and the fits by those chosen."""
    rows, folds, outputs = scope.rows, scope.folds, sizes.outputs
    curves = sum(_kept(sizes, scope))
    chosen = min(rows, gam.MAX_CHOICE_ROWS)
    lanes = folds * outputs
    if chosen * curves * lanes > gam.ONE_FOLD_WORK:
        lanes = outputs
    chosen = min(chosen, gam.MAX_ROW_LANES // max(1, lanes))
    fitted = min(rows, gam.MAX_FIT_ROWS, gam.MAX_ROW_LANES // outputs)
    blocks, all_blocks = np.ceil(lanes / LANES), np.ceil((folds + 1) * outputs / LANES)
    params = curves * main_knots(rows)
    fits = 1 + SELECTIVE_FITS * selective.may_help(rows, curves, params, (folds + 1) * outputs)
    return float(1e-6 * curves * (chosen * blocks * CHOICE_US + fits * fitted * all_blocks * FIT_US))


def _score_seconds(sizes: Sizes, scope: Scope) -> float:
    """Estimate the seconds of one core to score the rows of a fold."""
    curves, _ = _curves_and_params(sizes, scope)
    return 1e-6 * scope.rows / scope.folds * sizes.outputs * (0.1 + 0.01 * curves)
