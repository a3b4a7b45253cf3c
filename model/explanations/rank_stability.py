"""Rank stability: how far a row's values can move while its largest contributions keep their order and signs.

``proved`` by ``model.certificates.contribution_order`` for the methods that are sums over terms, ``integrated`` and
``eigenvector``, against any reference; and sampled: what so many rows drawn evenly within the radii say, for every
method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.contribution_order import OrderProof, largest_share
from eigenserve.model.certificates.reach import check_radii
from eigenserve.model.explanations.explain import METHODS, explain
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.groups import Groups, grouped, part_sums, term_parts
from eigenserve.model.explanations.reference import Reference, training_reference
from eigenserve.model.predictor import ClassLabel, Predictor
from eigenserve.model.rows.features import FeatureSpace

#: Rows drawn near each row: a share of all is known to about a sixteenth.
SAMPLES = 64
#: By how much contributions must differ to count as proved to: each is within 1e-4 of the row's largest (see
#: ``model.explanations.integrated``), and the proof is of the exact ones.
MARGIN = 1e-4
#: Methods whose contributions are forms of the terms' matrices, of which something can be proved.
PROVED = ("integrated", "eigenvector")


@dataclass(frozen=True, eq=False)
class RankStability:
    """How steady the order of N rows' largest contributions is.

    Attributes:
        leading: (N,), each row's largest terms, in order.
        proved: (N,), the share of the radii within which these are proved to be the largest, in this order and with
            these signs, whatever the row: one of ``LADDER``, 0 where nothing is proved; NaN for methods without proof.
        sampled: (N,), the largest share of ``LADDER`` within which that is so in all of the rows drawn.
        holds: (N,), in which share of the rows drawn within the whole radii it is so.
        moves: (N,), the largest change of a contribution among these rows, as a share of the largest contribution.
        samples: how many rows were drawn near each.
    """

    leading: tuple[tuple[str, ...], ...]
    proved: FloatArray
    sampled: FloatArray
    holds: FloatArray
    moves: FloatArray
    samples: int


def rank_stability(
    predictor: Predictor,
    columns: FloatArray,
    radii: Callable[[FloatArray], Mapping[str, float]],
    *,
    method: str = METHODS[0],
    target: ClassLabel | None = None,
    baseline: FloatArray | None = None,
    reference: Reference | None = None,
    leading: int = 3,
    seed: int = 0,
    groups: Groups | None = None,
    check: Callable[[], None] = lambda: None,
) -> RankStability:
    """Measure the rank stability of the explanations of columns (N, F).

    Args:
        predictor: what is explained.
        columns: the rows.
        radii: a row (F,) -> by feature, how far it moves at most, in its own unit. A category or boolean with a
            positive one takes any value, in the proof and in the rows drawn; what is missing stays missing.
        method, target, baseline, reference: as for ``explain``; of several classes, the one that each row is predicted
            to be.
        leading: how many contributions are looked at; fewer where a model has fewer terms.
        seed: of the rows drawn; the same ones for each row, so that a row's result does not depend on the others.
        groups: features whose contributions are one.
        check: called before every row; it may raise, to give up.

    Raises:
        ValueError: an unknown feature, method or class, or a radius that is negative or not finite.
    """
    count, names = len(columns), []
    proved, sampled, holds, moves = np.full(count, np.nan), np.zeros(count), np.empty(count), np.empty(count)
    draws = np.random.default_rng(seed).uniform(-1.0, 1.0, (SAMPLES, columns.shape[1]))
    for j, row in enumerate(columns):
        check()
        within = radii(row)
        check_radii(predictor.features, within)
        own = target
        if own is None and predictor.task == "multiclass":
            own = predictor.classes[int(predictor.scores(row[None]).argmax())]

        explained = partial(
            explain, predictor, method=method, target=own, baseline=baseline, reference=reference, check=check
        )
        steady = _Steady(explained, groups or {}, row, Neighbours(predictor.features, row, within, draws), leading)
        here, there = steady.here, steady.moved(1.0)
        names.append(tuple(steady.found.terms[t] for t in steady.order))
        holds[j] = steady.same(there).mean()
        largest = float(np.abs(here).max(initial=0.0))
        moves[j] = np.abs(there - here).max(initial=0.0) / largest if largest > 0.0 else 0.0
        sampled[j] = 1.0 if holds[j] == 1.0 else largest_share(steady.holds)
        if method in PROVED:
            claims = order_claims(here, steady.order) @ part_sums(term_parts(predictor.ensemble.pencil, groups or {})).T
            proof = proof_of(predictor, row, steady.found.outputs[0], method, reference, claims, largest, check)
            proved[j] = proof.share(within)
    return RankStability(tuple(names), proved, sampled, holds, moves, SAMPLES)


def order_claims(contributions: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Return what has to be positive for contributions (P,) to keep this order of the largest and its signs: (K, P)."""
    unit = np.eye(len(contributions)) * np.where(contributions < 0.0, -1.0, 1.0)
    last, rest = unit[order[-1]], np.delete(unit, order, axis=0)
    above = [unit[a] - unit[b] for a, b in pairwise(order)]
    return np.vstack([*above, *(last - rest), *(last + rest), last])


def proof_of(
    predictor: Predictor,
    columns: FloatArray,
    outputs: FloatArray,
    method: str,
    reference: Reference | None,
    claims: FloatArray,
    largest: float,
    check: Callable[[], None],
) -> OrderProof:
    """Return the proof of claims (K, T) on the contributions of a row (F,) of columns.

    Args:
        predictor, columns, method, reference, check: as for ``rank_stability``.
        outputs: (O,), the combination that is explained.
        claims: combinations of terms that are to be positive.
        largest: contribution of the row, of which the margin is a share.
    """
    means = None
    if method == "integrated":
        population = training_reference(predictor) if reference is None else reference
        means = population.term_matrices(predictor.ensemble.pencil)
    weights = np.outer(outputs, predictor.ensemble.member_weights).ravel()
    margins = MARGIN * largest * np.abs(claims).sum(axis=1)
    return OrderProof(predictor, columns, weights, claims, margins, largest, means, check)


class Neighbours:
    """Draw rows near a row, of which any share of the radii can be taken.

    Args:
        features: what the columns are.
        row: (F,).
        radii: by feature; a category or boolean with a positive one takes any value.
        draws: (M, F), each evenly drawn from [-1, 1): how much of its radius a number moves by, or which code it is.
    """

    def __init__(self, features: FeatureSpace, row: FloatArray, radii: Mapping[str, float], draws: FloatArray) -> None:
        widths = np.array([radii.get(name, 0.0) for name in features.names])
        counts = np.array([feature.num_codes for feature in features.features])
        self.row, self.steps = row, np.where(counts > 0, 0.0, widths) * draws
        self.any_code = (counts > 0) & (widths > 0.0) & ~np.isnan(row)
        self.codes = np.floor(0.5 * (draws + 1.0) * counts)

    def within(self, share: float) -> FloatArray:
        """Return the rows (M, F) within a share of the radii."""
        return np.where(self.any_code & (share > 0.0), self.codes, self.row + share * self.steps)


class _Steady:
    """Hold a row's leading contributions, and say of rows nearby whether theirs are the same.

    Args:
        explained: rows -> their explanation.
        groups: features whose contributions are one.
        row: (F,).
        neighbours: the rows drawn.
        leading: how many contributions lead.
    """

    def __init__(
        self,
        explained: Callable[[FloatArray], Explanation],
        groups: Groups,
        row: FloatArray,
        neighbours: Neighbours,
        leading: int,
    ) -> None:
        self.explained, self.groups, self.neighbours = explained, groups, neighbours
        self.found = grouped(explained(row[None]), groups)
        self.here = self.found.contributions[0]
        self.order = np.argsort(-np.abs(self.here), kind="stable")[:leading]

    def moved(self, share: float) -> FloatArray:
        """Return the contributions (M, P) of the rows drawn within a share of the radii."""
        return grouped(self.explained(self.neighbours.within(share)), self.groups).contributions

    def same(self, there: FloatArray) -> NDArray[np.bool_]:
        """Return which of the contributions (M, P) have the same leading ones, in order and with signs."""
        order = self.order
        ranks = np.argsort(-np.abs(there), axis=1, kind="stable")[:, : len(order)]
        signs = np.sign(there[:, order]) == np.sign(self.here[order])
        return np.asarray((ranks == order).all(axis=1) & signs.all(axis=1))

    def holds(self, share: float) -> bool:
        """Return whether all rows drawn within a share of the radii have the same leading ones."""
        return bool(self.same(self.moved(share)).all())
