"""Choose, of blends that are as good out of fold, the one whose explanations move least when a row moves a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.explanations.explain import explain
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.predictor import Predictor
from eigenserve.training.search.candidates import Candidate
from eigenserve.training.search.jobs import OutOfTimeError
from eigenserve.training.search.judged import Judged
from eigenserve.training.search.members import Task
from eigenserve.training.search.ranks import Ranks
from eigenserve.training.search.refit import joined_picks
from eigenserve.training.search.tasks import train_tasks
from eigenserve.training.search.workbench import TrainedMember, Workbench

#: Rows whose explanations are compared, each with this many moved by a tenth of a deviation of every number.
ROWS, DRAWS = 100, 2
#: How many standard errors of the loss a whole unit of moves may cost, in the objectives by which blends are made.
PRICES = (1.0, 2.0, 4.0, 10.0, 30.0, 100.0)
#: Begins the keys of the members that are trained to be looked at; those of finished models begin with 1,000.
STEADY = 2000


@dataclass(frozen=True)
class Blend:
    """Hold a blend, its loss out of fold, by how many standard errors it is worse than the best, and its moves.

    ``moves``: the median over rows of the largest move of a contribution, as a share of the row's largest, when every
    number moves by a tenth of its standard deviation.
    """

    loss: float
    standard_errors: float
    moves: float


def steadiest_blend(
    picks: list[Judged],
    library: Sequence[Judged],
    members: int,
    bench: Workbench,
    predictor: Callable[[SpectralEnsemble], Predictor],
    columns: FloatArray,
    ranks: Ranks | None = None,
    late: Callable[[], bool] = lambda: False,
) -> tuple[list[Judged], list[dict[str, float | bool]]]:
    """Return picks whose loss is within a standard error of the given ones', and what was compared.

    One member of every candidate is trained on all rows, and explained; what a blend's contributions are is then the
    mean of its members'. Blends are made greedily for ever higher prices of moves.

    Args:
        picks: the best blend.
        library: what may be picked.
        members: of a blend.
        bench: what candidates are trained on.
        predictor: makes a model of an ensemble.
        columns: (N, F), the training rows.
        ranks, late: as for ``refit``.
    """
    usable = _usable(picks, library)
    kinds = list({_kind(entry): entry for entry in usable}.values())
    try:
        tables = _moves(kinds, bench, predictor, columns, ranks, late)
    except OutOfTimeError:
        return picks, []
    best = bench.row_losses(_mean([pick.scores for pick in picks]))

    def described(chosen: Sequence[Judged]) -> Blend:
        each = bench.row_losses(_mean([pick.scores for pick in chosen]))
        worse = each - best
        error = float(worse.std() / np.sqrt(len(worse)))
        by_error = float(worse.mean()) / error if error > 0.0 else 0.0
        return Blend(float(each.mean()), by_error, _moved([tables[_kind(pick)] for pick in chosen]))

    unit = float(best.std() / np.sqrt(len(best)))
    options = [picks]
    for price in PRICES:
        options.append(_greedy(usable, members, price * unit, bench, tables))
    blends = [described(option) for option in options]
    near = [i for i, blend in enumerate(blends) if blend.standard_errors <= 1.0]
    chosen = min(near, key=lambda i: blends[i].moves)
    return options[chosen], [{**asdict(blend), "chosen": i == chosen} for i, blend in enumerate(blends)]


def trade_off(compared: Sequence[dict[str, float | bool]]) -> str:
    """Say in a line what steadier explanations would cost, and what was chosen."""
    if not compared:
        return "no time is left to look for steadier explanations: the best blend is kept"
    parts = [
        f"{one['moves']:.3f} at {one['standard_errors']:+.1f}{' (chosen)' if one['chosen'] else ''}" for one in compared
    ]
    return f"moves of explanations, at standard errors of the loss above the best: {', '.join(parts)}"


def _kind(entry: Judged) -> tuple[Candidate | None, int, int]:
    return entry.candidate, entry.steps, id(entry.additive) if entry.candidate is None else 0


def _usable(picks: Sequence[Judged], library: Sequence[Judged]) -> list[Judged]:
    """Return what can be picked without another size or finer curves than the best blend has."""
    spectral = [pick.candidate for pick in picks if pick.candidate is not None]
    if not spectral:
        return list(picks)
    dim, finest = spectral[0].dim, max(candidate.level for candidate in spectral)
    return [
        entry
        for entry in library
        if len(entry.scores)
        and (entry.candidate is None or (entry.candidate.dim == dim and entry.candidate.level <= finest))
    ]


def _moves(
    kinds: Sequence[Judged],
    bench: Workbench,
    predictor: Callable[[SpectralEnsemble], Predictor],
    columns: FloatArray,
    ranks: Ranks | None,
    late: Callable[[], bool],
) -> dict[tuple[Candidate | None, int, int], FloatArray]:
    """Return by kind the contributions by feature (1 + DRAWS, N, F) of some rows, and of those moved."""
    tasks = [
        Task(entry.candidate, entry.steps_on_all_rows, None, (STEADY, i))
        for i, entry in enumerate(kinds)
        if entry.candidate is not None
    ]
    trained: list[TrainedMember] = list(train_tasks(bench, tasks, ranks, late))
    rng = np.random.default_rng(bench.seed)
    rows = columns[np.sort(rng.permutation(len(columns))[:ROWS])]
    tables, at = {}, 0
    moved: list[FloatArray] = []
    for entry in kinds:
        done = []
        if entry.candidate is not None:
            done, at = [trained[at]], at + 1
        model = predictor(joined_picks(bench, [entry], done, 1.0, 0.0))
        if not moved:
            radii = [default_radii(model.features, row) for row in rows]
            widths = np.array([[own.get(name, 0.0) for name in model.features.names] for own in radii])
            moved = [rows + widths * rng.choice([-1.0, 1.0], rows.shape) for _ in range(DRAWS)]
        tables[_kind(entry)] = np.array([_by_feature(model, one) for one in (rows, *moved)])
    return tables


def _by_feature(model: Predictor, rows: FloatArray) -> FloatArray:
    """Return contributions (N, F), those of pairs in halves: candidates have different terms."""
    target = model.classes[-1] if model.task == "multiclass" else None
    terms = model.ensemble.pencil.terms
    shares = np.zeros((len(terms), len(model.features)))
    for t, term in enumerate(terms):
        shares[t, list(term.features)] = 1.0 / len(term.features)
    return np.asarray(explain(model, rows, target=target).contributions @ shares)


def _mean(scores: Sequence[FloatArray]) -> FloatArray:
    return np.asarray(np.mean(scores, axis=0))


def _moved(tables: Sequence[FloatArray]) -> float:
    """Return the moves of a blend of members with these contributions."""
    mean = _mean(tables)
    largest = np.abs(mean[0]).max(axis=1)
    change = np.abs(mean[1:] - mean[0]).max(axis=(0, 2))
    return float(np.median(change[largest > 0.0] / largest[largest > 0.0])) if largest.any() else 0.0


def _greedy(
    usable: Sequence[Judged],
    members: int,
    price: float,
    bench: Workbench,
    tables: dict[tuple[Candidate | None, int, int], FloatArray],
) -> list[Judged]:
    """Choose picks, with repetition, whose loss plus the price of their moves is least, one after the other."""
    picks: list[Judged] = []
    total = np.zeros(usable[0].scores.shape)
    for count in range(1, members + 1):

        def cost(entry: Judged, count: int = count, total: FloatArray = total) -> float:
            moves = _moved([tables[_kind(pick)] for pick in (*picks, entry)]) if price > 0.0 else 0.0
            return bench.loss((total + entry.scores) / count) + price * moves

        best = min(usable, key=cost)
        picks.append(best)
        total = total + best.scores
    return picks
