"""Reasons: what moved rows to the wrong side of a cutoff, in words that can be sent to a person.

A reason is a feature, or a group of them, whose contribution against the reference is adverse. A pair's contribution
is shared in halves by its two features. Only what the model scored is ever a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import DEFAULT_SHARE, default_radii
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import read_goal
from eigenserve.model.counterfactuals.plausibility import Typicality
from eigenserve.model.counterfactuals.search import Counterfactual, find_counterfactuals
from eigenserve.model.explanations.groups import Groups
from eigenserve.model.explanations.integrated import explain_integrated
from eigenserve.model.explanations.rank_stability import proof_of
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.explanations.tables import row_values
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.features import Feature, FeatureSpace

Side = Literal["above", "below"]
#: A reason of less than this share of the largest one is a trifle, and is not given.
TRIFLE = 0.02
#: Contributions nearer than this share of the largest one are tied: quadrature does not distinguish them.
TIE = 1e-4
#: Rows near a row by which the stability of a rank is judged, each number moved by up to a tenth of a deviation.
SAMPLES = 64


@dataclass(frozen=True)
class Wording:
    """The lender's own words, as a reasons.toml has them.

    Attributes:
        texts: by feature or group: a text; {"high": text, "low": text}, by the side of the typical value; or a list of
            bins [{"below": 20, "text": text}, ..., {"text": text}], of which the first that fits is taken. A text may
            hold {value}.
        never: features and groups that are never cited.
    """

    texts: Mapping[str, Any] = field(default_factory=dict)
    never: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reason:
    """One principal reason.

    Attributes:
        name: of the feature or group.
        text: in the lender's words, or its name.
        value: of the feature in the row; of a group a mapping by feature.
        contribution: to the score, against the reference.
        share: of the distance from the cutoff, in the score.
        rank_holds: in which share of ``SAMPLES`` rows nearby it is among the reasons given, sampled.
        tied: whether the next reason is as large, to the accuracy of contributions.
    """

    name: str
    text: str
    value: Any
    contribution: float
    share: float
    rank_holds: float
    tied: bool


@dataclass(frozen=True)
class RowReasons:
    """The reasons of one row.

    Attributes:
        adverse: whether it is on the wrong side of the cutoff; without reasons where it is not.
        prediction: on the target's scale: the value, or the probability of the second class.
        distance: of its score from the cutoff's.
        reasons: in order.
        order_proved: how many standard deviations, at most a tenth, every number may move while these are proved to be
            the reasons, in this order (see ``model.certificates.contribution_order``); 0 where nothing is proved.
        withheld: how many larger reasons may never be cited.
        change: the smallest plausible change found that would reverse the decision; None where none was found.
    """

    adverse: bool
    prediction: float
    distance: float
    reasons: tuple[Reason, ...] = ()
    order_proved: float = 0.0
    withheld: int = 0
    change: Counterfactual | None = None


def read_wording(document: Mapping[str, Any], names: set[str]) -> Wording:
    """Check the parsed reasons.toml against the names of features and groups.

    Raises:
        ValueError: an unknown key or name, or a text that is none of those that ``Wording`` describes.
    """
    unknown = sorted(set(document) - {"text", "never", "changes"})
    if unknown:
        raise ValueError(f"reasons.toml has the keys text, never and changes; got {unknown[0]!r}")
    texts, never = document.get("text", {}), document.get("never", [])
    if not isinstance(texts, Mapping) or not isinstance(never, list):
        raise ValueError("reasons.toml must have a table [text] and a list never")
    for name in (*texts, *never):
        if name not in names:
            raise ValueError(f"reasons.toml names {name!r}, which is neither a feature nor a group")
    for name, text in texts.items():
        bins = text if isinstance(text, list) else []
        good = (
            isinstance(text, str)
            or (isinstance(text, Mapping) and set(text) == {"high", "low"})
            or (bool(bins) and all(isinstance(one, Mapping) and "text" in one for one in bins))
        )
        if not good:
            raise ValueError(f"the text of {name!r} must be a text, {{high = ..., low = ...}}, or a list of bins")
    return Wording(texts, frozenset(never))


def find_reasons(
    predictor: Predictor,
    columns: FloatArray,
    cutoff: float,
    *,
    adverse: Side = "above",
    most: int = 4,
    reference: Reference | None = None,
    groups: Groups | None = None,
    wording: Wording | None = None,
    steps: Steps | None = None,
    typical: Typicality | None = None,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> list[RowReasons]:
    """Find the principal adverse reasons of columns (N, F), at most so many for each row.

    Args:
        predictor: of one output.
        columns: the rows.
        cutoff: on the prediction's scale.
        adverse: which side of it is the wrong one; a row at the cutoff is on the wrong side.
        most: reasons a row.
        reference: the population compared with; the training average by default.
        groups: features that are one reason.
        wording: the lender's words.
        steps: which changes are possible; all within the training range by default.
        typical: what judges how plausible a change is.
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
    wrong = sign * (scores[:, 0] - limit) >= 0.0
    players = _players(predictor.features, groups or {})
    shares = _shares(predictor, players)
    words = Wording() if wording is None else wording
    goal = read_goal(predictor, {"below" if sign > 0.0 else "above": cutoff})
    steps = replace(Steps(predictor) if steps is None else steps, check=check)
    rng = np.random.default_rng(seed)
    found = []
    for j, row in enumerate(columns):
        check()
        distance = float(scores[j, 0] - limit)
        if not wrong[j]:
            found.append(RowReasons(False, float(predictions[j]), distance))
            continue
        nearby = np.vstack([row, _nearby(predictor.features, row, rng)])
        explained = explain_integrated(predictor, nearby, reference=reference, check=check)
        contributions = sign * explained.contributions @ shares
        citable = np.array([name not in words.never for name in players])
        order = _order(contributions[0], citable, most)
        ranked = [set(_order(moved, citable, most)) for moved in contributions[1:]]
        first = float(contributions[0].max(initial=0.0))
        withheld = int((~citable & (contributions[0] > (contributions[0, order[-1]] if order else 0.0))).sum())
        names = list(players)
        reasons = []
        for place, p in enumerate(order):
            own = contributions[0, p]
            after = order[place + 1] if place + 1 < len(order) else None
            value = _value(predictor.features, row, players[names[p]])
            reasons.append(
                Reason(
                    name=names[p],
                    text=_text(predictor.features, words.texts.get(names[p], names[p]), players[names[p]], row, value),
                    value=value,
                    contribution=float(sign * own),
                    share=float(own / abs(distance)) if distance else float("inf"),
                    rank_holds=float(np.mean([p in moved for moved in ranked])),
                    tied=after is not None and own - contributions[0, after] <= TIE * first,
                )
            )
        changes = find_counterfactuals(steps, goal, row, typical=typical)
        change = changes[0] if changes and changes[0].changes else None
        claims = _claims(contributions[0], order, citable, most)
        proof = proof_of(predictor, row, np.array([sign]), "integrated", reference, claims @ shares.T, first, check)
        proved = DEFAULT_SHARE * proof.share(default_radii(predictor.features, row)) if order else 0.0
        found.append(RowReasons(True, float(predictions[j]), distance, tuple(reasons), proved, withheld, change))
    return found


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


def _order(contributions: FloatArray, citable: NDArray[np.bool_], most: int) -> list[int]:
    """Return the positions of adverse reasons, the largest first, of equal ones the first column; without trifles."""
    candidates = np.where(citable, contributions, -np.inf)
    order = np.argsort(-candidates, kind="stable")[:most]
    least = TRIFLE * float(contributions.max(initial=0.0))
    return [int(p) for p in order if candidates[p] > 0.0 and candidates[p] >= least]


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


def _nearby(features: FeatureSpace, row: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return rows (SAMPLES, F) within a tenth of a deviation of every number."""
    radii = default_radii(features, row)
    widths = np.array([radii.get(name, 0.0) for name in features.names])
    return row + widths * rng.uniform(-1.0, 1.0, (SAMPLES, len(row)))


def _value(features: FeatureSpace, row: FloatArray, positions: tuple[int, ...]) -> Any:
    values = row_values(features, row)
    names = [features.names[i] for i in positions if not features.features[i].cycle]
    return values[names[0]] if len(names) == 1 else {name: values[name] for name in names}


def _text(features: FeatureSpace, words: Any, positions: tuple[int, ...], row: FloatArray, value: Any) -> str:
    feature: Feature = features.features[positions[0]]
    number = float(row[positions[0]])
    if isinstance(words, Mapping):
        typical = float(feature.typical) if isinstance(feature.typical, int | float) else np.nan
        words = words["high" if number >= typical else "low"]
    elif isinstance(words, list):
        fitting = (one["text"] for one in words if "below" not in one or number < one["below"])
        words = next(fitting, feature.name)
    return str(words).replace("{value}", str(value))
