"""SpectralModel: the face of a model, every question a method: encode the rows, call, return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.decision_radius import certified_radius
from eigenserve.model.certificates.intervals import ScoreInterval, score_interval
from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.certificates.shapes import Certificates, certificates
from eigenserve.model.certificates.stability import Stability, stability
from eigenserve.model.certificates.strengths import feature_strengths
from eigenserve.model.counterfactuals.allowed_changes import Steps
from eigenserve.model.counterfactuals.goals import read_goal
from eigenserve.model.counterfactuals.plausibility import Typicality, read_typicality
from eigenserve.model.counterfactuals.rules import read_rules
from eigenserve.model.counterfactuals.search import MOST_FEATURES, Counterfactual, find_counterfactuals
from eigenserve.model.explanations.eigenpairs import MemberEigenpair, member_eigenpairs
from eigenserve.model.explanations.explain import METHODS, check_comparison, explain
from eigenserve.model.explanations.explanation import Explanation
from eigenserve.model.explanations.groups import Groups, grouped, read_groups
from eigenserve.model.explanations.interactions import Interactions, interactions
from eigenserve.model.explanations.near_crossings import narrow_gap
from eigenserve.model.explanations.rank_stability import RankStability, rank_stability
from eigenserve.model.explanations.reference import (
    GIVEN,
    TRAINING,
    Reference,
    read_references,
    reference_of,
    training_reference,
)
from eigenserve.model.explanations.response_curves import (
    ResponseCurves,
    ResponseSurface,
    response_curves,
    response_surface,
)
from eigenserve.model.explanations.tables import MOST_TERMS, html_table
from eigenserve.model.predictor import ClassLabel, Predictor
from eigenserve.model.reasons import ReasonRules, RowReasons, Side, find_reasons, read_wording
from eigenserve.model.rows.baseline import background_columns, baseline_columns
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.warnings import RowChecks, RowWarnings, read_kinds


@dataclass(frozen=True, repr=False)
class SpectralModel(Predictor):
    """Predict by a trained tridiagonal spectral model, and explain every prediction.

    Attributes:
        card: what else its checkpoint says of it: name, version, metrics, training settings.
    """

    card: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Write what it is in one line: its matrices have tens of thousands of numbers."""
        named = " ".join(str(self.card[key]) for key in ("name", "version") if key in self.card)
        pencil = self.ensemble.pencil
        return (
            f"<SpectralModel {named}{': ' if named else ''}{self.task} of {self.target!r} from "
            f"{len(self.features.input_names)} features; {len(self.ensemble.member_weights)} members, dim {pencil.dim}>"
        )

    def _repr_html_(self) -> str:
        """Show the features in a notebook, with what they may be."""
        rows = []
        for feature in self.features.features[: len(self.features.input_names)]:
            span = f"{feature.low:.6g} to {feature.high:.6g}"
            if feature.kind == "datetime":
                span = f"{iso_time(feature.low)[:10]} to {iso_time(feature.high)[:10]}"
            elif feature.num_codes:
                span = ", ".join(feature.categories[:MOST_TERMS]) or "true, false"
                span += f" and {more} more" if (more := len(feature.categories) - MOST_TERMS) > 0 else ""
            rows.append((feature.name, feature.kind, span, "yes" if feature.missing else ""))
        return html_table(("feature", "kind", "values in training", "may be missing"), rows, repr(self)[1:-1])

    @cached_property
    def interval_levels(self) -> tuple[float, ...]:
        """List levels at which the card keeps radii of prediction intervals, ascending; none for classifiers."""
        return tuple(sorted(self._radii))

    def predict_interval(self, rows: Any, level: float = 0.9) -> FloatArray:
        """Predict intervals (N, 2) that hold the target with probability ``level``, on average over rows.

        Split-conformal, for rows like those trained on: of equal width for all, or, where training has found that
        errors grow with the prediction, say, wider where they are.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: a level that the model keeps no intervals of.
        """
        return self.intervals(self.scores(self.features.encode(rows)), level)

    def intervals(self, scores: FloatArray, level: float) -> FloatArray:
        """Return the intervals of ``predict_interval``, for scores (N, 1)."""
        if level not in self._radii:
            levels = ", ".join(f"{have:g}" for have in self.interval_levels) or "none: no intervals are kept"
            raise ValueError(f"level must be one of {levels}; got {level}")
        predicted, radius = self.values(scores), self._radii[level]
        if (scale := self.card.get("interval_scale")) is not None:
            radius = radius * np.interp(predicted, scale["at"], scale["width"])
        return np.stack([predicted - radius, predicted + radius], axis=1)

    @cached_property
    def _radii(self) -> dict[float, float]:
        kept = {} if self.classes else self.card.get("intervals") or {}
        return {float(level): float(radius) for level, radius in kept.items()}

    def explain(
        self,
        rows: Any,
        method: str = METHODS[0],
        target: ClassLabel | None = None,
        *,
        reference: Any = None,
        baseline: Any = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        seed: int = 0,
    ) -> Explanation:
        """Explain rows: their decomposed scores (see ``Explanation``).

        Args:
            rows: as for ``predict``.
            method: "integrated", by term and against one reference for all rows (see
                ``model.explanations.integrated``); "shapley_terms", over all coalitions of terms against the same;
                "eigenvector", by term and local, the cheapest; or, by feature and against a baseline row, "shapley"
                (all coalitions, see ``model.explanations.shapley``) or "path" (Aumann-Shapley, see
                ``model.explanations.aumann_shapley``).
            target: the class whose score to explain; by default the second of two, the predicted of several.
            reference: what "integrated" and "shapley_terms" compare with: the training average by default; the name of
                one of ``references``; or rows, whose mean matrices are taken.
            baseline: the row that "path" and "shapley" compare with, or a sample of rows (a list of rows, a 2-D array
                or a DataFrame), to be compared with each, on average; the training medians and modes by default.
            groups: names -> features whose contributions are to be one number (see ``model.explanations.groups``); by
                default those that the model keeps.
            seed: of the permutations that are drawn where a row has too many features, or terms, for all coalitions.

        Raises:
            InvalidRowsError: rows, or a baseline, that are not rows of this model.
            ValueError: unknown method, class, reference or group; a baseline or a reference for a method that has none.
        """
        check_comparison(method, reference is not None, baseline is not None)
        if baseline is not None:
            baseline = background_columns(self.features, baseline)
        population = None if reference is None else self.reference(reference)
        found = explain(self, self.features.encode(rows), method, target, baseline, population, seed)
        return grouped(found, self.groups if groups is None else read_groups(self.features, groups))

    def warnings(self, rows: Any) -> RowWarnings:
        """Find where a model had to guess: ``warnings(rows).lists()`` has a list for every row (see
        ``model.rows.warnings``).

        Raises:
            InvalidRowsError: rows that are not rows of this model.
        """
        return self.checks.warnings(self.features.encode(rows))

    @cached_property
    def checks(self) -> RowChecks:
        """Return what finds the warnings of rows."""
        proved = self.card.get("certificates") or {}
        return RowChecks(self.features, frozenset({*proved.get("curved", ()), *proved.get("max_strength", ())}))

    @cached_property
    def narrow_gap(self) -> float:
        """Return the gap below which an explanation counts as unstable (see ``model.explanations.near_crossings``)."""
        return narrow_gap(self)

    @cached_property
    def strict(self) -> frozenset[str]:
        """Return the kinds of warnings for which the model's card refuses a row.

        Raises:
            ValueError: a kind that does not exist.
        """
        return read_kinds(self.card.get("strict"))

    @cached_property
    def groups(self) -> Groups:
        """Groups of features that the model keeps, and explains as one."""
        return read_groups(self.features, self.card.get("groups") or {})

    @cached_property
    def references(self) -> Mapping[str, Reference]:
        """Return populations that explanations can be compared with, by name; the training average is always one."""
        kept = read_references(self.card.get("references") or {}, self.ensemble.pencil.curves.num_matrices)
        return {TRAINING: training_reference(self), **kept}

    def reference(self, population: Any, name: str = GIVEN) -> Reference:
        """Return a reference by its name, or that of the mean of rows.

        Raises:
            InvalidRowsError: rows that are not rows of this model, or none.
            ValueError: an unknown name.
        """
        if isinstance(population, Reference):
            return population
        if not isinstance(population, str):
            return reference_of(self, np.atleast_2d(background_columns(self.features, population)), name)
        if population not in self.references:
            raise ValueError(f"reference must be one of {', '.join(map(repr, self.references))}; got {population!r}")
        return self.references[population]

    def reasons(
        self,
        rows: Any,
        cutoff: float,
        *,
        adverse: Side = "above",
        n: int = 4,
        reference: Any = None,
        wording: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> list[RowReasons]:
        """Find the principal adverse reasons of the rows on the wrong side of a cutoff (see ``model.reasons``).

        Args:
            rows: as for ``predict``.
            cutoff: on the prediction's scale: of the target, or for two classes the probability of the second.
            adverse: which side of it is the wrong one.
            n: how many reasons to give at most.
            reference: as for ``explain``.
            wording: a parsed reasons.toml (see ``Wording``); by default the one that the model keeps.
            seed: of the rows nearby by which the stability of a rank is judged.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: a model of several classes, a bad cutoff, reference or wording.
        """
        rules = self.reason_rules if wording is None else self._reason_rules(wording)
        population = None if reference is None else self.reference(reference)
        columns = self.features.encode(rows)
        return find_reasons(self, columns, cutoff, rules, adverse=adverse, most=n, reference=population, seed=seed)

    @cached_property
    def reason_rules(self) -> ReasonRules:
        """Return what the model keeps for its reasons: words, groups and the changes that it allows."""
        return self._reason_rules(self.card.get("reasons") or {})

    def _reason_rules(self, wording: Mapping[str, Any]) -> ReasonRules:
        words = read_wording(wording, self.features, self.groups)
        return ReasonRules(self.groups, words, self.possible_changes, self.typicality)

    def eigenpairs(self, row: Any, target: ClassLabel | None = None) -> tuple[MemberEigenpair, ...]:
        """Compute every member's matrix, eigenvalue and eigenvector for a row (see ``model.explanations.eigenpairs``).

        Raises:
            InvalidRowsError: a row that is not one of this model.
            ValueError: an unknown class.
        """
        columns = baseline_columns(self.features, row)
        return member_eigenpairs(self, self.output_of(columns, target), columns)

    def response_curves(
        self, row: Any, names: Iterable[str] | None = None, target: ClassLabel | None = None
    ) -> ResponseCurves:
        """Compute a row's score and prediction along each feature alone (see ``model.explanations.response_curves``).

        Args:
            row: a mapping by feature name, or a sequence in column order.
            names: of the features; all by default.
            target: the class to look at, as for ``explain``.

        Raises:
            InvalidRowsError: a row that is not one of this model.
            ValueError: an unknown feature or class.
        """
        columns = baseline_columns(self.features, row)
        which = [self.features.position(name) for name in (self.features.names if names is None else names)]
        return response_curves(self, self.output_of(columns, target), columns, which)

    def response_surface(self, row: Any, pair: tuple[str, str], target: ClassLabel | None = None) -> ResponseSurface:
        """Compute what ``response_curves`` does, over a grid of two different features' values."""
        columns = baseline_columns(self.features, row)
        a, b = (self.features.position(name) for name in pair)
        if a == b:
            raise ValueError(f"a pair must be two different features; got {pair[0]!r} twice")
        return response_surface(self, self.output_of(columns, target), columns, (a, b))

    @cached_property
    def possible_changes(self) -> Steps:
        """Return the changes that the model allows: the table [changes] of the reasons.toml that it keeps."""
        return read_rules(self, (self.card.get("reasons") or {}).get("changes", {}))

    @cached_property
    def typicality(self) -> Typicality | None:
        """Return what judges how plausible a changed row is; None where the checkpoint keeps nothing for it."""
        return read_typicality(self.features, self.card.get("typicality"))

    def counterfactuals(
        self,
        rows: Any,
        wanted: Mapping[str, Any],
        *,
        fixed: Iterable[str] = (),
        ranges: Mapping[str, tuple[Any, Any]] | None = None,
        directions: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        orders: Mapping[str, Any] | None = None,
        max_features: int = 2,
        radius: float | None = None,
    ) -> list[list[Counterfactual]]:
        """Find, for every row, the smallest possible changes that give the wanted prediction.

        See ``model.counterfactuals.search``. What the model's own reasons.toml allows holds in any case.

        Args:
            rows: as for ``predict``.
            wanted: {"above": value}, {"below": value} or {"class": label}; values are on the prediction's scale: of the
                target, or for two classes the probability of the second.
            fixed: features that may not change.
            ranges: (low, high) of what numbers, dates and times may become, by feature, written as in rows; within
                their training range by default.
            directions: "up" or "down" for numbers, ordered categories and booleans that may only go one way.
            values: the only values a feature may take, by feature; those seen in training where they are few.
            orders: the categories of a feature in their order: a change then counts how many places it moves.
            max_features: how many features may change at once, 1 to 4.
            radius: if given, only changes for which all rows within so many training standard deviations of every
                number are proved to reach the goal, too.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: an unknown feature, or a bad rule or wanted prediction.
        """
        if max_features not in range(1, MOST_FEATURES + 1):
            raise ValueError(f"max_features must be 1 to {MOST_FEATURES}; got {max_features!r}")
        if radius is not None and not 0.0 < radius < float("inf"):
            raise ValueError(f"radius must be positive and finite; got {radius!r}")
        goal = read_goal(self, wanted)
        rules = {
            "fixed": fixed if isinstance(fixed, str) else list(fixed),
            "ranges": ranges,
            "directions": directions,
            "values": values,
            "orders": orders,
        }
        steps = self.possible_changes.joined(read_rules(self, rules))
        return [
            find_counterfactuals(steps, goal, row, max_features, radius, self.typicality)
            for row in self.features.encode(rows)
        ]

    def interactions(self, row: Any, target: ClassLabel | None = None, *, baseline: Any = None) -> Interactions:
        """Measure second derivatives and Shapley interaction values of a row (see ``model.explanations.interactions``).

        Args:
            row: a mapping by feature name, or a sequence in column order.
            target: the class to look at, as for ``explain``.
            baseline: the row that Shapley values compare with; the training medians and modes by default.

        Raises:
            InvalidRowsError: a row, or a baseline, that is not one of this model.
            ValueError: an unknown class.
        """
        columns, start = baseline_columns(self.features, row), baseline_columns(self.features, baseline)
        return interactions(self, self.output_of(columns, target), columns, start)

    def certify(self, row: Any, radii: Mapping[str, float] | None = None, *, effort: float = 1.0) -> ScoreInterval:
        """Prove an interval of the scores of all rows within ``radii`` of a row (see ``model.certificates.intervals``).

        Args:
            row: a mapping by feature name, or a sequence in column order.
            radii: by feature, in its own unit; positive for "any value" of a categorical or boolean feature. By
                default a tenth of the standard deviation of every number (see ``default_radii``).
            effort: more gives tighter intervals where curves of a pair have many knots within reach; 4 is plenty.

        Raises:
            InvalidRowsError: a row that is not one of this model.
            ValueError: an unknown feature, or a radius that is negative or not finite.
        """
        columns = baseline_columns(self.features, row)
        radii = default_radii(self.features, columns) if radii is None else radii
        return score_interval(self, columns, radii, effort)

    def certified_radius(
        self,
        row: Any,
        scales: Mapping[str, float] | None = None,
        threshold: float | None = None,
        *,
        effort: float = 1.0,
    ) -> float:
        """Certify how many ``scales`` all features may move at once without changing the row's decision
        (``model.certificates.intervals``).

        Args:
            row: a mapping by feature name, or a sequence in column order.
            scales: by feature, in its own unit; by default a standard deviation of every number.
            threshold: where the decision lies, on the prediction's scale: a value of the target or a rate; of two
                classes the second's probability, 0.5 by default; none for several classes, of which the most probable
                one is the decision.
            effort: of the proofs, as for ``certify``.

        Returns:
            What is proved; infinity where no limit was found.

        Raises:
            InvalidRowsError: a row that is not one of this model.
            ValueError: an unknown feature or a bad scale; a threshold that is missing, superfluous or no value of the
                prediction.
        """
        columns = baseline_columns(self.features, row)
        scales = default_radii(self.features, columns, share=1.0) if scales is None else scales
        if self.task == "multiclass":
            if threshold is not None:
                raise ValueError(f"threshold must be left out: the most probable class decides; got {threshold!r}")
            score = 0.0
        elif threshold is None and not self.classes:
            raise ValueError(f"threshold must be given for a {self.task}: the value on whose side a row is")
        else:
            score = self.score_of(0.5 if threshold is None else threshold, "threshold")
        return certified_radius(self, columns, scales, score, effort)

    def stability(
        self, rows: Any, radii: Mapping[str, float] | None = None, target: ClassLabel | None = None
    ) -> Stability:
        """Bound how far the eigenvector explanations of rows can turn, and say whether to trust them (see
        ``model.certificates.stability``).

        Args:
            rows: as for ``predict``, or a single row as a mapping.
            radii: by feature, in its own unit, of all rows; by default a ten-thousandth of the standard deviation of
                every number.
            target: as for ``explain``.

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: an unknown feature or class, or a radius that is negative or not finite.
        """
        single = isinstance(rows, Mapping) and not any(isinstance(v, list | tuple | np.ndarray) for v in rows.values())
        columns = self.features.encode([rows] if single else rows)
        explanation = explain(self, columns, "eigenvector", target)
        return stability(self, columns, explanation.outputs, explanation.contributions, radii)

    def reasons_stable(
        self,
        rows: Any,
        radii: Mapping[str, float] | None = None,
        target: ClassLabel | None = None,
        *,
        method: str = METHODS[0],
        reference: Any = None,
        baseline: Any = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        leading: int = 3,
    ) -> RankStability:
        """Prove, and sample, how far rows can move while their ``leading`` largest contributions keep order and signs.

        Args:
            rows: as for ``predict``.
            radii: as for ``certify``, of all rows: see ``model.explanations.rank_stability``.
            target, method, reference, baseline, groups: as for ``explain``.
            leading: how many contributions are looked at.

        Raises:
            InvalidRowsError: rows, or a baseline, that are not rows of this model.
            ValueError: as for ``explain``; an unknown feature, or a radius that is negative or not finite.
        """
        check_comparison(method, reference is not None, baseline is not None)
        return rank_stability(
            self,
            self.features.encode(rows),
            (lambda row: default_radii(self.features, row)) if radii is None else lambda _: radii,
            method=method,
            target=target,
            baseline=None if baseline is None else background_columns(self.features, baseline),
            reference=None if reference is None else self.reference(reference),
            leading=leading,
            groups=self.groups if groups is None else read_groups(self.features, groups),
        )

    def certificates(self) -> Certificates:
        """Return the features along which the score is proved monotone, convex or concave."""
        return certificates(self)

    def strengths(self) -> dict[str, float]:
        """Bound, by feature, every slope or change between categories (see ``model.certificates.strengths``)."""
        return dict(self._strengths)

    @cached_property
    def _strengths(self) -> dict[str, float]:
        return feature_strengths(self)
