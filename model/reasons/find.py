"""Find reasons: what moved rows to the wrong side of a cutoff.

A reason is a feature, or a group of them, whose contribution against the reference is adverse. A pair's contribution
is shared in halves by its two features. Only what the model scored is ever a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import DEFAULT_SHARE, default_radii
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import Goal, read_goal
from eigenserve.model.counterfactuals.plausibility import Typicality
from eigenserve.model.counterfactuals.search import Counterfactual, find_counterfactuals
from eigenserve.model.explanations.groups import Groups
from eigenserve.model.explanations.integrated import explain_integrated
from eigenserve.model.explanations.rank_stability import proof_of
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.predictor import Predictor
from eigenserve.model.reasons.wording import Wording
from eigenserve.model.rows.features import FeatureSpace

Side = Literal["above", "below"]
#: A reason of less than this share of the largest one is a trifle, and is not given.
TRIFLE = 0.02
#: Contributions nearer than this share of the largest one are tied: quadrature does not distinguish them.
TIE = 1e-4
#: Rows near a row by which the stability of a rank is judged, each number moved by up to a tenth of a deviation.
SAMPLES = 64


@dataclass(frozen=True)
class ReasonRules:
    """Hold what decides a model's reasons except for the question.

    Attributes:
        groups: features that are one reason.
        wording: the lender's words.
        steps: which changes are possible.
        typical: what judges how plausible a change is; None for nothing.
    """

    groups: Groups
    wording: Wording
    steps: Steps
    typical: Typicality | None


@dataclass(frozen=True)
class Reason:
    """One principal reason.

    Attributes:
        name: of the feature or group.
        text: in the lender's words, or its name.
        value: of the feature, as a row has it, a date in ISO 8601; of a group a mapping by feature.
        contribution: to the score, against the reference.
        share: of the distance from the cutoff, in the score; None for a row at the cutoff.
        rank_holds: in which share of ``SAMPLES`` rows nearby it is among the reasons given, sampled.
        tied: whether the next reason, given or not, is as large, to the accuracy of contributions.
    """

    name: str
    text: str
    value: Any
    contribution: float
    share: float | None
    rank_holds: float
    tied: bool


@dataclass(frozen=True)
class RowReasons:
    """The reasons of one row.

    Attributes:
        adverse: whether it is on the wrong side of the cutoff; without reasons where it is not.
        prediction: on the target's scale: the value, or the probability of the second class.
        distance: of its score from the cutoff's; 0 where the prediction is the cutoff.
        reasons: in order.
        order_proved: how many standard deviations, at most a tenth, every number may move while these are proved to be
            the reasons, in this order (see ``model.certificates.contribution_order``); 0 where nothing is proved.
        withheld: how many larger reasons may never be cited.
        change: the smallest plausible change found that would reverse the decision, of features that may be cited; None
            where none was found.
    """

    adverse: bool
    prediction: float
    distance: float
    reasons: tuple[Reason, ...] = ()
    order_proved: float = 0.0
    withheld: int = 0
    change: Counterfactual | None = None


def find_reasons(
    predictor: Predictor,
    columns: FloatArray,
    cutoff: float,
    rules: ReasonRules,
    *,
    adverse: Side = "above",
    most: int = 4,
    reference: Reference | None = None,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> list[RowReasons]:
    """Find the principal adverse reasons of columns (N, F), at most so many for each row.

    Those of a row do not depend on the rows with it.

    Args:
        predictor: of one output.
        columns: the rows.
        cutoff: on the prediction's scale.
        rules: what the model keeps.
        adverse: which side of it is the wrong one; a row whose prediction is the cutoff is on the wrong side.
        most: reasons a row.
        reference: the population compared with; the training average by default.
        seed: of the rows by which ranks are judged.
        check: called before every row, and during the search for a change; it may raise, to give up.

    Raises:
        ValueError: a model of several classes, a cutoff that no prediction can have, or no reasons asked for.
    """
    if predictor.task == "multiclass":
        raise ValueError("reasons need a model of one output; this one has several classes")
    if adverse not in ("above", "below"):
        raise ValueError(f'adverse must be "above" or "below"; got {adverse!r}')
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"n must be a whole number of at least 1; got {most!r}")
    sign, limit = (1.0 if adverse == "above" else -1.0), predictor.score_of(cutoff, "cutoff")
    scores = predictor.scores(columns)
    predictions = predictor.probabilities(scores)[:, 1] if predictor.classes else predictor.values(scores)
    wrong = predictions >= cutoff if adverse == "above" else predictions <= cutoff
    # Scores are rounded otherwise than predictions: only these say which rows are at the cutoff.
    distances = np.where(predictions == cutoff, 0.0, scores[:, 0] - limit)
    words, players = rules.wording, _players(predictor.features, rules.groups)
    shares, names = _shares(predictor, players), list(players)
    citable = np.array([words.can_cite(predictor.features, name, players[name]) for name in names])
    silent = {i for i, feature in enumerate(predictor.features.names) if feature in words.never}
    silent |= {i for name in words.never & players.keys() for i in players[name]}
    steps = replace(rules.steps, fixed={*rules.steps.fixed, *silent}, check=check)
    goal = _beyond(predictor, cutoff, adverse)
    draws = np.random.default_rng(seed).uniform(-1.0, 1.0, (SAMPLES, len(predictor.features)))
    found = []
    for row, prediction, distance, is_wrong in zip(
        columns, predictions.tolist(), distances.tolist(), wrong.tolist(), strict=True
    ):
        check()
        if not is_wrong:
            found.append(RowReasons(False, prediction, distance))
            continue
        nearby = np.vstack([row, _nearby(predictor.features, row, draws)])
        explained = explain_integrated(predictor, nearby, reference=reference, check=check)
        contributions = sign * explained.contributions @ shares
        own, tied = _ranked(contributions[0], citable)
        order = own[:most]
        ranked = [set(_ranked(moved, citable)[0][:most]) for moved in contributions[1:]]
        least = min((contributions[0, p] for p in order), default=0.0)
        reasons = tuple(
            Reason(
                name=names[p],
                text=words.text(predictor.features, names[p], players[names[p]], row),
                value=_value(predictor.features, row, players[names[p]]),
                contribution=float(sign * contributions[0, p]),
                share=_share(float(contributions[0, p]), distance),
                rank_holds=float(np.mean([p in moved for moved in ranked])),
                tied=tied[place],
            )
            for place, p in enumerate(order)
        )
        changes = find_counterfactuals(steps, goal, row, typical=rules.typical)
        claims, first = _claims(contributions[0], order, citable, most), float(contributions[0].max(initial=0.0))
        proof = proof_of(predictor, row, np.array([sign]), "integrated", reference, claims @ shares.T, first, check)
        proved = DEFAULT_SHARE * proof.share(default_radii(predictor.features, row)) if order else 0.0
        withheld = int((~citable & (contributions[0] > least)).sum())
        change = changes[0] if changes else None
        found.append(RowReasons(True, prediction, distance, reasons, proved, withheld, change))
    return found


def _beyond(predictor: Predictor, cutoff: float, adverse: Side) -> Goal:
    """Return the goal of a change: the other side of the cutoff, to which the cutoff does not belong."""
    goal = read_goal(predictor, {"below" if adverse == "above" else "above": cutoff})
    return replace(goal, value=float(np.nextafter(cutoff, goal.sign * np.inf)))


def _share(contribution: float, distance: float) -> float | None:
    share = contribution / abs(distance) if distance else np.inf
    return share if np.isfinite(share) else None


def _players(features: FeatureSpace, groups: Groups) -> dict[str, tuple[int, ...]]:
    """Groups, and the features that are in none, by name in column order; cycles belong to their date."""
    home = {i: group for group, positions in groups.items() for i in positions}
    players: dict[str, tuple[int, ...]] = {}
    for i, feature in enumerate(features.features):
        owner = features.position(feature.source) if feature.cycle else i
        name = home.get(i, home.get(owner, features.names[owner]))
        players[name] = (*players.get(name, ()), i)
    return players


def _shares(predictor: Predictor, players: Mapping[str, tuple[int, ...]]) -> FloatArray:
    """Return what turns contributions of terms into those of players, (T, P): pairs count in halves."""
    terms = predictor.ensemble.pencil.terms
    shares = np.zeros((len(terms), len(players)))
    place = {i: p for p, positions in enumerate(players.values()) for i in positions}
    for t, term in enumerate(terms):
        for i in term.features:
            shares[t, place[i]] += 1.0 / len(term.features)
    return shares


def _ranked(contributions: FloatArray, citable: NDArray[np.bool_]) -> tuple[list[int], list[bool]]:
    """Return the positions of adverse reasons without trifles, and whether each is tied with the next.

    The largest come first; those that are tied stand in column order.
    """
    largest = float(contributions.max(initial=0.0))
    good = citable & (contributions > 0.0) & (contributions >= TRIFLE * largest)
    ties: list[list[int]] = []
    for p in np.argsort(-contributions, kind="stable").tolist():
        if not good[p]:
            continue
        if ties and contributions[ties[-1][-1]] - contributions[p] <= TIE * largest:
            ties[-1].append(p)
        else:
            ties.append([p])
    return [p for tie in ties for p in sorted(tie)], [k + 1 < len(tie) for tie in ties for k in range(len(tie))]


def _claims(contributions: FloatArray, order: list[int], citable: NDArray[np.bool_], most: int) -> FloatArray:
    """Return what has to be positive, of contributions (P,), for the reasons to be these, in this order: (K, P)."""
    unit = np.eye(len(contributions))
    largest = unit[int(np.argmax(contributions))]
    above = [unit[a] - unit[b] for a, b in pairwise(order)]
    if not order:
        return np.zeros((1, len(unit)))
    last = unit[order[-1]]
    rest = unit[[p for p in np.flatnonzero(citable) if p not in order]]
    # Others stay smaller; or trifles, if there is room for them. The last is none, whichever player is the largest.
    floor = last if len(order) == most else TRIFLE * largest
    return np.vstack([*above, *(floor - rest), *(last - TRIFLE * unit)])


def _nearby(features: FeatureSpace, row: FloatArray, draws: FloatArray) -> FloatArray:
    """Return rows (SAMPLES, F) within a tenth of a deviation of every number, by draws from -1 to 1."""
    radii = default_radii(features, row)
    return row + np.array([radii.get(name, 0.0) for name in features.names]) * draws


def _value(features: FeatureSpace, row: FloatArray, positions: tuple[int, ...]) -> Any:
    own = [features.features[i] for i in positions if not features.features[i].cycle]
    values = {feature.name: feature.written(float(row[features.position(feature.name)])) for feature in own}
    return next(iter(values.values())) if len(own) == 1 else values
