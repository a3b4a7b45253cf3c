"""Plan: how much of a fit is done, so that it keeps a budget of time and memory, decided before any of it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from eigenserve.errors import UserError
from eigenserve.training.additive import pairs
from eigenserve.training.planning.costs import LEAST_STEPS, Scope, Sizes, phase_bytes, phase_seconds
from eigenserve.training.planning.machine import Machine

#: Ways of training that a search tries at most.
MOST_CANDIDATES = 12
#: Nothing is left out until the least that makes a good model takes longer than this share of the budget and so many
#: seconds; of what is left the search makes what it can. A budget of a second is a wish to be quick, not to do without.
LEAST_SHARE, GRACE_S, LEAST_SEARCH_S = 0.9, 4.0, 2.0
#: Of a budget of less than a fifth of a second, ten times as much.
LEAST_BUDGETS = 10.0
#: A step that saves less than this share of what is too much is not taken.
WORTH = 0.02
#: What is left out, in this order, until the plan fits; the least harm comes first.
LIMITS: tuple[dict[str, int], ...] = (
    {"rows": 400_000, "knot_features": 64},
    {"pair_rows": 10_000, "candidates": 6, "knot_features": 32},
    {"levels": 1},
    {"pair_features": 10, "members": 8, "rows": 200_000},
    {"candidates": 4, "knot_features": 16, "pair_features": 8},
    {"folds": 4, "members": 6, "rows": 100_000},
    {"pair_rows": 5_000, "pair_features": 6, "knot_features": 8},
    {"candidates": 3, "members": 4, "rows": 50_000},
    {"folds": 3, "features": 512, "knot_features": 4},
    {"candidates": 2, "pair_features": 4, "rows": 20_000},
    {"folds": 2, "members": 3, "features": 256},
    {"candidates": 1, "pair_features": 0, "knot_features": 0, "rows": 10_000},
    {"members": 2, "additive": 0, "features": 128},
    {"steps": 150, "rows": 5_000},
    {"members": 1, "steps": 100, "features": 64},
    {"rows": 2_000, "features": 32},
)
#: How the notes name what was left out.
_NAMES = {
    "rows": "{} of {} rows",
    "features": "the {} strongest of {} features",
    "folds": "{} instead of {} folds",
    "knot_features": "finer knots tried along {} instead of {} features",
    "pair_features": "pairs of {} instead of {} features",
    "pair_rows": "pairs judged by {} instead of {} rows",
    "candidates": "{} instead of {} ways of training",
    "members": "{} instead of {} members",
    "levels": "{} instead of {} resolutions of curves",
}


@dataclass(frozen=True)
class FitPlan:
    """Hold what a fit does, and what that takes.

    Attributes:
        scope: how much is done.
        seconds: phase -> seconds that it should take; the search has what is left of the budget.
        peak_bytes: phase -> bytes in use at its peak.
        notes: what was left out to keep the budget or the memory, in a sentence each.
    """

    scope: Scope
    seconds: dict[str, float]
    peak_bytes: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def total_s(self) -> float:
        """Sum the seconds of all phases."""
        return sum(self.seconds.values())

    def lines(self) -> Iterator[str]:
        """Write a table of the phases for people to read, and the notes."""
        yield f"{'phase':<12}{'seconds':>10}{'memory':>12}"
        for phase, seconds in self.seconds.items():
            size = f"{self.peak_bytes[phase] / 1e6:,.0f} MB" if phase in self.peak_bytes else ""
            yield f"{phase:<12}{seconds:>10.1f}{size:>12}"
        yield f"{'total':<12}{self.total_s:>10.1f}{max(self.peak_bytes.values()) / 1e6:>9,.0f} MB"
        scope = self.scope
        yield (
            f"{scope.rows:,} rows, {scope.features:,} features, {scope.folds} folds, up to {scope.candidates} ways of "
            f"training and {scope.members} members, pairs of {scope.pair_features} features"
        )
        yield from self.notes


def full_scope(sizes: Sizes, folds: int, members: int, wants_pairs: bool = True) -> Scope:
    """Return all that a fit of such a table would do with unlimited time and memory."""
    tried = min(pairs.MAX_FEATURES, sizes.features) if wants_pairs else 0
    return Scope(
        rows=sizes.rows,
        features=sizes.features,
        folds=folds,
        additive=True,
        knot_features=sizes.numbers,
        pair_features=tried,
        pair_rows=min(sizes.rows, pairs.MAX_ROWS),
        candidates=MOST_CANDIDATES,
        members=members,
    )


def make_plan(sizes: Sizes, whole: Scope, machine: Machine, budget_s: float, memory: int) -> FitPlan:
    """Plan a fit that keeps a budget of time and of memory, as near to ``whole`` as can be.

    Args:
        sizes: of the table.
        whole: all that would be done without bounds.
        machine: where it is done.
        budget_s: seconds of the whole fit.
        memory: bytes of the whole process.

    Raises:
        UserError: the table does not fit into the memory with as little as can be done.
    """
    scope, notes = _within(sizes, whole, machine, memory, by_memory=True)
    if (least := max(phase_bytes(sizes, scope, machine.cores).values())) > memory:
        raise UserError(
            f"about {least / 1e6:,.0f} MB of memory are needed at least for this table; {memory / 1e6:,.0f} MB may be "
            "used: leave out columns (--exclude), give fewer rows (--max-rows) or more memory (--max-memory)"
        )
    scope, more = _within(sizes, scope, machine, LEAST_SHARE * budget_s + GRACE_S, by_memory=False)
    seconds = _seconds(sizes, scope, machine)
    left = budget_s - sum(seconds.values())
    least_s = min(LEAST_SEARCH_S, LEAST_BUDGETS * budget_s)
    seconds["search"] += max(0.0, left, least_s - seconds["search"])
    every = [f"to keep {what}: {text}" for what, text in (("the memory", notes), ("the budget", more)) if text]
    return FitPlan(scope, seconds, phase_bytes(sizes, scope, machine.cores), tuple(every))


def _seconds(sizes: Sizes, scope: Scope, machine: Machine) -> dict[str, float]:
    return {phase: machine.slowness * s for phase, s in phase_seconds(sizes, scope, machine.cores).items()}


def _within(sizes: Sizes, scope: Scope, machine: Machine, most: float, *, by_memory: bool) -> tuple[Scope, str]:
    """Return the scope with as many of the LIMITS as are needed, and what they leave out in words."""

    def need(scope: Scope) -> float:
        if by_memory:
            return max(phase_bytes(sizes, scope, machine.cores).values())
        return sum(_seconds(sizes, scope, machine).values())

    whole = scope
    for limits in LIMITS:
        for name, most_of_it in limits.items():
            now = need(scope)
            if now <= most:
                break
            if most_of_it < getattr(scope, name):
                smaller = replace(scope, **{name: type(getattr(scope, name))(most_of_it)})
                if now - need(smaller) > WORTH * (now - most):
                    scope = smaller
    changed = [name for name in _NAMES if getattr(scope, name) < getattr(whole, name)]
    words = [_NAMES[name].format(f"{getattr(scope, name):,}", f"{getattr(whole, name):,}") for name in changed]
    words += ["no additive model"] * (scope.additive < whole.additive)
    words += [f"{scope.steps} steps of training"] * (scope.steps < LEAST_STEPS)
    return scope, ", ".join(words)
