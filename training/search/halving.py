"""Search a table's configuration: candidates judged on rows they have not seen, the better ones at greater length.

Each length starts with the best candidates of the one before. The best there are then varied in one respect at a time
(resolution, penalties, size, learning rate, pairs, start) for as long as that finds a better one, within the length's
share of the budget. What is compared is the loss that a mean of all members would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eigenserve.training.progress import Reporter
from eigenserve.training.search.blends.blend import mean_loss
from eigenserve.training.search.candidates import Candidate
from eigenserve.training.search.jobs import OutOfTimeError
from eigenserve.training.search.journal import Journal
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.members import Task
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.tasks import train_tasks
from eigenserve.training.search.workbench import Workbench

#: Optimiser steps of each length.
LENGTHS = (300, 1200, 4800, 16_000)
#: Candidates that go on to each, at most, and the share of the budget that may be spent by its end.
ENTRANTS = (100, 6, 4, 3)
SHARES = (0.15, 0.4, 0.7, 1.0)
#: How many of the best candidates of a length are varied, unless variants better them.
VARIED = (1, 2, 2, 1)
#: Members of each candidate and fold: what they differ by says what a mean of many would gain.
REPEATS = 2
#: Below so many rows each is cheap, and says little by itself.
SMALL_ROWS, SMALL_REPEATS = 2_000, 3
#: A length that promises less than this share of the loss is not begun, once this many have run; before, one that
#: follows a loss of more than this share.
LEAST_GAIN, LEAST_LENGTHS, WORST_LOSS = 0.001, 2, 0.01
#: Candidates whose scores are kept for the blend.
KEPT = 8
#: The share of the budget that the first length may take before it is made shorter, and its fewest steps.
FIRST_SHARE, LEAST_STEPS = 0.7, 100


@dataclass
class Search:
    """Run a search.

    Attributes:
        bench: what candidates are trained on.
        members_of: size -> members of a finished model.
        reporter: receives how far it has come.
        journal: keeps finished parts.
        ranks: processes that share the work.
        judged: all that was judged; the scores of what cannot win are dropped.
        spent: reckoned seconds of processor time.
        complete: false once it was interrupted.
        first_steps: of the first length at most.
        late: true once what was judged must do; it needs one process alone.
    """

    bench: Workbench
    members_of: Callable[[int], int]
    reporter: Reporter
    journal: Journal | None = None
    ranks: Ranks | None = None
    judged: list[Judged] = field(default_factory=list)
    spent: float = 0.0
    complete: bool = True
    first_steps: int = LENGTHS[0]
    late: Callable[[], bool] = lambda: False
    _repeats: int = REPEATS
    _lengths: Sequence[int] = ()
    _allowed: float = 0.0
    _numbers: dict[Candidate, int] = field(default_factory=dict)
    _standings: dict[tuple[Candidate, int], float] = field(default_factory=dict)

    def run(self, lengths: Sequence[int] = LENGTHS, core_s: float = 0.0, vary: bool = True) -> None:
        """Search within so many seconds of one core, the training of the finished members included.

        The first length always runs, shorter where it would take too long. Interrupted, or late, the search ends with
        what it has judged so far, unless that is nothing, or several processes would have to agree on what it is.
        """
        for model in self.bench.additive_models:
            self.judged.append(Judged(None, 0, model.out_of_fold, self.bench.loss(model.out_of_fold), model))
        self._allowed = core_s
        entrants = self.bench.suitable()
        if vary or core_s > 0.0:
            lengths = (self._first_steps(entrants, min(lengths[0], self.first_steps), core_s), *lengths[1:])
        if not vary:
            costs = [self._repeats * self.bench.folds * self.bench.step_seconds(candidate) for candidate in entrants]
            self._allowed = sum(steps * sum(costs[:most]) for steps, most in zip(lengths, ENTRANTS, strict=False))
        self._lengths = lengths
        best: list[float] = []
        try:
            for level, steps in enumerate(lengths):
                entrants = entrants[: ENTRANTS[level]] if level > 0 else entrants
                limit = SHARES[level] * core_s if vary else core_s
                varied = VARIED[level] if vary else 0
                # Where its share buys nothing, the rest of the budget may: it would be left over otherwise.
                if not any(self._length(level, steps, entrants, most, varied) for most in (limit, core_s)):
                    break
                standing = self._standing(steps)
                best.append(standing[0][0])
                entrants = [candidate for _, candidate in standing]
                futile = vary and level == 0 and not self._beats_additive(steps)
                self._drop_scores()
                if futile or not _promises_more(best):
                    break
        except OutOfTimeError:
            self.reporter.say("the budget is spent: continuing with the best so far")
            self.complete = False
        except KeyboardInterrupt:
            if not self.judged or (self.ranks is not None and self.ranks.size > 1):
                raise
            self.reporter.say("stopped: continuing with the best so far")
            self.complete = False

    def library(self) -> list[Judged]:
        """List what may be blended: of the best candidates each member apart, and the additive model."""
        best = self._best()
        return [entry for entry in self.judged if entry.candidate is None or (entry.candidate, entry.steps) in best]

    def _first_steps(self, entrants: Sequence[Candidate], steps: int, core_s: float) -> int:
        """Choose the steps of the first length; few repeats come first where time is short."""
        self._repeats = SMALL_REPEATS if len(self.bench.fold) < SMALL_ROWS else REPEATS
        step_s = self.bench.folds * sum(self.bench.step_seconds(candidate) for candidate in entrants)
        while self._repeats > 1 and self._repeats * steps * step_s > FIRST_SHARE * core_s:
            self._repeats -= 1
        while steps > LEAST_STEPS and self._repeats * steps * step_s > FIRST_SHARE * core_s:
            steps = max(LEAST_STEPS, steps // 2)
        return steps

    def _beats_additive(self, steps: int) -> bool:
        """Say whether the best of a length is better than the best additive model, if any, by a standard error.

        Where it is not, longer searches choose by noise: 3,562 rows on who repays a loan gave the same loss on held-out
        rows after 2 and after 91 s of one core, 1,176 on who leaves a company after 17 and after 75.
        """
        additive = [entry for entry in self.judged if entry.candidate is None]
        if not additive:
            return True
        _, leader = self._standing(steps)[0]
        repeats = [entry.scores for entry in self.judged if (entry.candidate, entry.steps) == (leader, steps)]
        best = min(additive, key=lambda entry: entry.loss)
        gain = self.bench.row_losses(best.scores) - self.bench.row_losses(np.mean(repeats, axis=0))
        return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))

    def _length(self, level: int, steps: int, entrants: Sequence[Candidate], limit: float, varied: int) -> bool:
        """Judge the entrants, then variants of the best; false where not one of them was affordable."""
        batch = self._affordable(entrants, steps, limit, always=level == 0)
        if not batch:
            return False
        tried = set(self._numbers)
        done: set[Candidate] = set()
        while batch:
            self._judge(level, steps, batch)
            leaders = [candidate for _, candidate in self._standing(steps)[:varied]]
            centre = next((candidate for candidate in leaders if candidate not in done), None)
            if centre is None:
                break
            done.add(centre)
            tried |= set(self._numbers)
            fresh = [candidate for candidate in self.bench.neighbours(centre) if candidate not in tried]
            batch = self._affordable(fresh, steps, limit)
            if not fresh:
                batch = []
        return True

    def _affordable(
        self, candidates: Sequence[Candidate], steps: int, limit: float, always: bool = False
    ) -> list[Candidate]:
        """Take candidates, in their order, while they and the finished members fit into the limit."""
        if always:
            return list(candidates)
        chosen, spent = [], self.spent
        for candidate in candidates:
            cost = self._cost(candidate, steps)
            refit = self.members_of(candidate.dim) * cost / (self._repeats * self.bench.folds)
            if spent + cost + refit > limit:
                continue
            spent += cost
            chosen.append(candidate)
        return chosen

    def _cost(self, candidate: Candidate, steps: int) -> float:
        """Estimate the seconds of one core that judging a candidate takes."""
        return steps * self.bench.step_seconds(candidate) * self._repeats * self.bench.folds

    def _judge(self, level: int, steps: int, candidates: Sequence[Candidate]) -> None:
        bench, folds = self.bench, range(self.bench.folds)
        numbered = [(self._numbers.setdefault(c, len(self._numbers)), c) for c in candidates]
        tasks = [Task(c, steps, f, (level, i, r, f)) for i, c in numbered for r in range(self._repeats) for f in folds]
        before, cost = self.spent, sum(steps * bench.step_seconds(task.candidate) for task in tasks)
        whole = self._expected(level, before + cost)

        def progress(share: float) -> None:
            self._report(before + share * cost, whole)

        results = train_tasks(
            bench,
            tasks,
            self.ranks,
            late=lambda: bool(self._standings) and self.late(),
            cut=self.late,
            journal=self.journal,
            progress=progress,
        )
        scores = np.full((len(bench.fold), bench.blueprint.plan.num_outputs), np.nan)
        repeats: list[Judged] = []
        taken = 0
        for (candidate, _, f, (_, _, r, _)), member in zip(tasks, results, strict=True):
            scores[bench.fold == f] = member.scores
            taken = max(taken, member.steps)
            self.spent += steps * bench.step_seconds(candidate)
            if f == folds[-1]:
                cut = taken if taken < steps else 0
                repeats.append(Judged(candidate, steps, scores.copy(), bench.loss(scores), cut=cut))
                taken = 0
                self.judged.append(repeats[-1])
                self._standings[candidate, steps] = mean_loss(repeats, self.members_of(candidate.dim), bench.loss)
                if r == self._repeats - 1:
                    repeats = []
            self._report(self.spent, whole)

    def _report(self, spent: float, whole: float) -> None:
        self.reporter.advance(round(1e6 * spent), round(1e6 * max(whole, spent)), self._summary())

    def _expected(self, level: int, begun: float) -> float:
        """Estimate the seconds of one core of the whole search when this length's work so far is ``begun``.

        It ends at the earliest with the entrants of the next length, or with what is begun where none is affordable,
        and at the latest with what is allowed: the geometric mean is wrong by the same factor either way.
        """
        if level == 0 and self._standings and not self._beats_additive(self._lengths[0]):
            return begun
        least, most = begun, SHARES[min(level, len(SHARES) - 1)] * self._allowed
        for steps in self._lengths[level + 1 : level + 2]:
            entrants = self._affordable(list(self._numbers), steps, self._allowed - begun + self.spent)
            if entrants:
                each = [self._cost(candidate, steps) for candidate in entrants[: ENTRANTS[level + 1]]]
                least, most = begun + sum(each), self._allowed
        return float(np.sqrt(least * max(least, most)))

    def _standing(self, steps: int) -> list[tuple[float, Candidate]]:
        """List the candidates judged at this length, the best first."""
        here = [(loss, candidate) for (candidate, length), loss in self._standings.items() if length == steps]
        return sorted(here, key=lambda entry: (entry[0], self._numbers[entry[1]]))

    def _best(self) -> set[tuple[Candidate, int]]:
        ranked = sorted(self._standings, key=lambda key: (self._standings[key], -key[1], self._numbers[key[0]]))
        return set(ranked[:KEPT])

    def _drop_scores(self) -> None:
        best = self._best()
        self.judged = [
            entry
            if entry.candidate is None or (entry.candidate, entry.steps) in best
            else replace(entry, scores=np.empty((0, entry.scores.shape[1])))
            for entry in self.judged
        ]

    def _summary(self) -> str:
        losses = [*self._standings.values(), *(entry.loss for entry in self.judged if entry.candidate is None)]
        return f"best out-of-fold loss {min(losses):.5g}" if losses else "judging candidates"


def _promises_more(best: Sequence[float]) -> bool:
    """Say whether a further length is worth its time: gains are taken to go on shrinking by the same factor."""
    if len(best) < 2:
        return True
    gain = best[-2] - best[-1]
    if len(best) <= LEAST_LENGTHS:
        return gain > -WORST_LOSS * abs(best[-1])
    before = best[-3] - best[-2]
    # A loss that rose promises nothing: the quotient of a negative gain must not make it positive again.
    expected = gain * min(1.0, gain / before) if before > 0 and gain > 0 else gain
    return expected > LEAST_GAIN * abs(best[-1])
