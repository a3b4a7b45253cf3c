"""Prepare a table for training: the columns that are asked for, read, without identifiers; target and weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.errors import InvalidRowsError
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.rows.readings import PLAIN, Reading
from eigenserve.training.data.categories.census import Beyond, TargetReader
from eigenserve.training.data.columns import read_columns
from eigenserve.training.data.exposure import per_unit
from eigenserve.training.data.oddities.copies import copy_groups
from eigenserve.training.data.oddities.doubts import sentinel_notes, without_identifiers
from eigenserve.training.data.oddities.totals import without_totals
from eigenserve.training.data.reading_options import ReadingOptions, reading_options
from eigenserve.training.data.sampling import WholeTable
from eigenserve.training.data.table import fingerprint
from eigenserve.training.data.target import Target, positive_column, read_target, required_column, split_read_target
from eigenserve.training.data.teacher import attach_teacher, with_teacher
from eigenserve.training.data.texts import table_rows
from eigenserve.training.settings import FitSettings

#: Share of repeated rows worth a word. Rounded measurements repeat now and then by chance.
REPEATED_ROWS = 0.01
#: Groups below which nothing could be judged by others.
LEAST_GROUPS = 2


@dataclass(frozen=True)
class TrainingTable:
    """Hold rows to learn from.

    Attributes:
        features: (N, F) read columns, those that are left out gone.
        target: of the N rows.
        weight: (N,), how much each row counts.
        readings: column -> how its texts are read, where that is not as programs write them.
        target_reading: how the texts of a target of numbers are read.
        notes: what the user should know.
        rows: of the table, those without a target included.
        sha256: a hash of the columns that were asked for, as they are read.
        beyond: the table that these are a sample of, where its other rows can be read without being held.
    """

    features: pd.DataFrame
    target: Target
    weight: FloatArray
    readings: Mapping[str, Reading] = field(default_factory=dict)
    target_reading: Reading = PLAIN
    notes: tuple[str, ...] = ()
    rows: int = 0
    sha256: str = ""
    beyond: Beyond | None = None


def training_table(
    frame: pd.DataFrame,
    target: str,
    settings: FitSettings,
    whole: WholeTable | None = None,
    stands_for: FloatArray | None = None,
) -> TrainingTable:
    """Read a table for a fit of the column ``target``.

    Args:
        frame: raw rows.
        target: the column.
        settings: of the fit.
        whole: the table that the rows are a sample of, if they are.
        stands_for: (N,), how many of its rows each of a sample stands for; None for a uniform one.

    Raises:
        UserError: a table or a setting that cannot be trained on.
    """
    required_column(frame, target)
    total = len(frame)
    frame, teacher = attach_teacher(frame, settings.teacher)
    frame, totals = without_totals(frame)
    chosen = chosen_columns(frame, target, settings, teacher)
    measures = frozenset(filter(None, (settings.weight, settings.exposure, settings.offset, *teacher)))
    options = replace(reading_options(asdict(settings), chosen.columns), measures=measures)
    raw = chosen[target]
    # What most columns prove of the decimal mark, the target among them, all share.
    goal_column = read_target(raw, settings.task, options)
    read = read_columns(chosen.drop(columns=target), without(options, target), [goal_column])
    if read.decimal and (goal_column.marks.ambiguous or goal_column.marks.pairs):
        goal_column = read_target(raw, settings.task, options, read.decimal)
    column = goal_column.values
    asked = pd.concat([read.frame, column.rename(target)], axis=1)[list(chosen.columns)]
    try:
        table, goal, target_notes = split_read_target(
            read.frame, raw, column, settings.task, positive=settings.positive
        )
    except UserError as error:
        # How the column was read is often why.
        raise UserError("; ".join([str(error), *goal_column.notes])) from error
    present = column.notna().to_numpy()
    stands_for = None if stands_for is None else stands_for[: len(frame)][present]
    given = read.frame.loc[present, _roles(settings, teacher)]
    weight = _weights(given, goal, settings, stands_for)
    power = settings.deviance_power(goal.task)
    goal, weight = per_unit(given, goal, weight, settings.exposure, settings.offset, power or 1.0)
    goal = with_teacher(goal, given, teacher)
    goal = replace(goal, moments=_moments(table, settings.time))
    owners = None if settings.groups is None else table[settings.groups]
    table = table.drop(columns=_no_features(frame, settings, teacher))
    target_notes += read.notes
    kept = {*settings.features, *options.types, *named_in(settings)}
    table, left_out = without_identifiers(table, kept)
    target_notes += left_out
    features = read.frame[list(table.columns)]
    target_notes += sentinel_notes(chosen, features, options.missing_in)
    if owners is None:
        goal = replace(goal, groups=copy_groups(table, goal.values))
        target_notes += _repeat_notes(goal)
    else:
        goal = replace(goal, groups=_owned(owners))
    return TrainingTable(
        features=table,
        target=goal,
        weight=weight,
        readings=read.readings,
        target_reading=PLAIN if goal.classes else goal_column.reading,
        notes=(*totals, *goal_column.notes, *target_notes),
        rows=total,
        sha256=fingerprint(asked),
        beyond=None
        if whole is None
        else Beyond(whole, _target_reader(raw[present], goal, goal_column.reading), stands_for),
    )


def _target_reader(cells: pd.Series, goal: Target, reading: Reading) -> TargetReader:
    """Return what reads the targets of other rows as the raw cells (N,) of these were read."""
    if not goal.classes:
        return TargetReader(reading)
    first = ~cells.duplicated().to_numpy()
    return TargetReader(codes=dict(zip(cells[first], goal.values[first].tolist(), strict=True)))


def without(options: ReadingOptions, name: str) -> ReadingOptions:
    """Leave out what is given about one column."""
    return replace(
        options,
        date_formats={key: value for key, value in options.date_formats.items() if key != name},
        missing_in={key: value for key, value in options.missing_in.items() if key != name},
        types={key: value for key, value in options.types.items() if key != name},
    )


def chosen_columns(
    frame: pd.DataFrame, target: str, settings: FitSettings, teacher: Sequence[str] = ()
) -> pd.DataFrame:
    """Select the columns that the settings ask for, those with a role even if they are excluded, and the target.

    Raises:
        UserError: a column that there is not, or the target among the others.
    """
    roles = _roles(settings, teacher)
    features, exclude = named(settings.features, frame), named(settings.exclude, frame)
    for name in (*features, *exclude, *roles):
        required_column(frame, name)
        if name == target:
            raise UserError(f"column {name!r} is the target; it cannot be used otherwise")
    wanted = {target, *roles, *(set(features or frame.columns) - set(exclude))}
    return frame[[name for name in frame if name in wanted]]


def named(entries: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Find the columns that the entries of a list separated by commas name; names may hold commas themselves."""
    names, at = [], 0
    while at < len(entries):
        joined = ((",".join(entries[at:end]), end) for end in range(len(entries), at, -1))
        name, end = next(((text.strip(), end) for text, end in joined if text.strip() in frame), (entries[at], at + 1))
        names.append(name)
        at = end
    return names


def check_features(test: pd.DataFrame, target: str, space: FeatureSpace, name: str) -> None:
    """Find out before a long training whether rows to test on, of the file ``name``, can be rows of its model.

    Raises:
        UserError: a missing column, or a value that is none of its feature's.
    """
    for needed in (target, *space.input_names):
        if needed not in test:
            raise UserError(f"{name} must have the column {needed!r}")
    try:
        space.encode(test)
    except InvalidRowsError as error:
        (row, column), message = error.errors[0]
        raise UserError(f"{name}: column {column!r} {message} in row {table_rows(test)[int(row)] + 1}") from error


def named_in(settings: FitSettings) -> Iterable[str]:
    """Yield features that settings say something about: they are wanted."""
    yield from (name for name, _ in (*settings.monotone, *settings.max_strength))
    yield from (*settings.convex, *settings.concave)
    yield from (name for pair in settings.pairs or () for name in pair)


def _weights(
    table: pd.DataFrame, goal: Target, settings: FitSettings, stands_for: FloatArray | None = None
) -> FloatArray:
    """Return how much each row counts, (N,)."""
    weight = np.ones(len(table)) if settings.weight is None else positive_column(table, settings.weight)
    if stands_for is not None:
        weight = weight * (stands_for / stands_for.mean())
    if settings.class_weight == "balanced":
        if not goal.classes:
            raise UserError(f"class_weight balanced needs classes; the task is {goal.task}")
        codes = goal.values.astype(int)
        weight = weight / np.bincount(codes, weight, minlength=len(goal.classes))[codes]
    for name in ("exposure", "offset"):
        if getattr(settings, name) is not None and settings.deviance_power(goal.task) is None:
            raise UserError(
                f"{name} needs counts or costs (the task poisson, or the loss gamma or tweedie); "
                f"the task is {goal.task} with the loss {settings.loss}"
            )
    return weight


def _roles(settings: FitSettings, teacher: Sequence[str]) -> list[str]:
    """List the columns that have a role, features or not, but for the target."""
    roles = (settings.weight, settings.exposure, settings.offset, settings.groups, settings.time)
    return [*dict.fromkeys([*filter(None, roles), *teacher])]


def _no_features(frame: pd.DataFrame, settings: FitSettings, teacher: Sequence[str]) -> list[str]:
    """List the columns that have a role and are no features: time is one, and what is named as one, too."""
    features = {*named(settings.features, frame), *filter(None, [settings.time])} - set(teacher)
    features -= set(named(settings.exclude, frame))
    return [name for name in _roles(settings, teacher) if name not in features]


def _owned(owners: pd.Series) -> NDArray[np.int64]:
    """Number the groups that a column names; a row without one is a group.

    Raises:
        UserError: a single group, by which nothing can be judged.
    """
    codes, values = pd.factorize(owners)
    if len(values) < LEAST_GROUPS:
        raise UserError(f"groups must have {LEAST_GROUPS} values at least; column {owners.name!r} has {len(values)}")
    alone = codes < 0
    return np.where(alone, len(values) + np.cumsum(alone) - 1, codes).astype(np.int64)


def _repeat_notes(goal: Target) -> Iterator[str]:
    """Say how many rows repeat another one, where they are many."""
    count = 0 if goal.groups is None else len(goal.groups) - int(goal.groups.max()) - 1
    if count > REPEATED_ROWS * len(goal.values):
        yield (
            f"{count:,} rows ({count / len(goal.values):.1%}) repeat another one: each is judged together with its "
            "copies; if they were copied by mistake, remove them"
        )


def _moments(table: pd.DataFrame, name: str | None) -> FloatArray | None:
    """Return the times of rows, as numbers that order them; None where rows are not judged by time."""
    if name is None:
        return None
    column = table[name]
    if column.isna().any():
        raise UserError(f"time must be known of every row; column {name!r} is missing in {int(column.isna().sum()):,}")
    if pd.api.types.is_datetime64_any_dtype(column):
        return np.asarray(pd.to_datetime(column, utc=True).dt.as_unit("us").astype(np.int64), np.float64)
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() < 2:
        raise UserError(f"time must be a column of different dates or numbers; {name!r} has {column.iloc[0]!r}")
    return column.to_numpy(np.float64)
