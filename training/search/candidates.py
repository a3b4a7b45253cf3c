"""List candidates: ways to train members, where a search starts among them, and those next to each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

#: Groups of curves that candidates switch and penalise as one.
MAIN, COARSE, FINE = range(3)
#: Strength of a penalty that a neighbour adds to a group without curves so far.
FRESH_PENALTY = 2.0
#: Neighbours are drawn this many times more, or less, to their anchor.
PENALTY_STEP = 4.0
#: Share of the learning rate that patient candidates take: fine curves are smoother by it (measured out of fold, wine
#: quality with 40 knots: squared error 0.270 instead of 0.276).
PATIENT = 0.4
#: Shares of a teacher's targets that are tried.
TEACHER_SHARES = (0.0, 0.5, 0.9)


@dataclass(frozen=True)
class Candidate:
    """Describe one way to train members.

    Attributes:
        penalties: L2 strength on the curves of single features, coarse pairs and fine pairs; None leaves a group out.
        additive_start: members start at, and are drawn to, the additive model instead of zero.
        level: resolution of the curves of single features (``training.curves.levels``).
        dim: size n of the matrices.
        rate: share of the learning rate.
        teacher: share of the teacher's targets in those that it learns from; the rest are the labels.
        selective: whether curves that say little in the additive model bear stronger penalties, and others weaker ones.
    """

    penalties: tuple[float | None, float | None, float | None]
    additive_start: bool
    level: int = 0
    dim: int = 15
    rate: float = 1.0
    teacher: float = 0.0
    selective: bool = False


def starting_candidates(dim: int) -> tuple[Candidate, ...]:
    """Strong and weak penalties, with and without pairs: no fixed setting suited all of the tables it was tried on."""
    return tuple(
        Candidate(penalties, start, dim=dim)
        for penalties, start in (
            ((2.0, None, None), True),
            ((8.0, None, None), True),
            ((1.0, None, None), False),
            ((4.0, None, None), False),
            ((2.0, 2.0, None), True),
            ((8.0, 8.0, None), True),
            ((2.0, 2.0, None), False),
            ((0.5, 0.5, 0.5), False),
            ((1.0, None, 1.0), False),
            ((2.0, None, 2.0), False),
            ((2.0, 2.0, 2.0), False),
            ((4.0, 4.0, 4.0), True),
        )
    )


def plain_candidates(dim: int) -> tuple[Candidate, ...]:
    """List the plain affine pencil of the literature: it has few parameters and no penalty."""
    return (Candidate((0.0, None, None), additive_start=False, dim=dim),)


def neighbours(
    candidate: Candidate, levels: int, sizes: tuple[int, ...], taught: bool = False, selects: bool = False
) -> Iterator[Candidate]:
    """Yield the candidates that differ in one respect, the most promising first.

    Args:
        candidate: from which they differ.
        levels: how many resolutions there are.
        sizes: of the matrices, ascending.
        taught: whether there is a teacher.
        selects: whether it is known what each curve says in an additive model.
    """
    for level in sorted(range(levels), key=lambda level: abs(level - candidate.level - 0.5)):  # finer ones first
        if level != candidate.level:
            yield replace(candidate, level=level)
    for factor in (1.0 / PENALTY_STEP, PENALTY_STEP):
        main, coarse, fine = (None if p is None else factor * p for p in candidate.penalties)
        yield replace(candidate, penalties=(main, coarse, fine))
    if selects:
        yield replace(candidate, selective=not candidate.selective)
    yield replace(candidate, rate=PATIENT if candidate.rate == 1.0 else 1.0)
    at = sizes.index(candidate.dim)
    for size in (*sizes[at + 1 : at + 2], *sizes[max(at - 1, 0) : at]):
        yield replace(candidate, dim=size)
    for share in TEACHER_SHARES if taught else ():
        if share != candidate.teacher:
            yield replace(candidate, teacher=share)
    for group in (COARSE, FINE):
        penalties = list(candidate.penalties)
        penalties[group] = FRESH_PENALTY if penalties[group] is None else None
        yield replace(candidate, penalties=(penalties[0], penalties[1], penalties[2]))
    yield replace(candidate, additive_start=not candidate.additive_start)
