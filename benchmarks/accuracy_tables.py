"""The tables that accuracy is compared on: those of the examples and of scikit-learn, Friedman's functions, a folder's.

A folder has a ``manifest.json``: a list of {"name", "file", "target"}, with "task" (regression, binary, multiclass or
poisson; inferred without it), "drop" (columns that are neither features nor known before the target) and "exposure"
where there are such. Files are read as they are.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets

from eigenserve.errors import UserError
from eigenserve.training.data.table import read_table
from eigenserve.training.data.target import infer_task, required_column

DATA = Path(__file__).parents[1] / "examples" / "data"
#: Rows of a table that are used, a uniform sample of longer ones.
MAX_ROWS = 12_000


class Table(NamedTuple):
    """Features (a frame, as it was read), the target of one comparison, and how much each row counts."""

    features: pd.DataFrame
    target: pd.Series
    task: Literal["regression", "binary", "multiclass", "poisson"]
    weight: np.ndarray


def _table(features: pd.DataFrame, target: pd.Series, task: Any = None, exposure: pd.Series | None = None) -> Table:
    weight = np.ones(len(target)) if exposure is None else exposure.to_numpy(np.float64)
    if exposure is not None:
        target = target / weight
    return Table(features.reset_index(drop=True), target.reset_index(drop=True), task or infer_task(target), weight)


def _sample(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(MAX_ROWS, random_state=0) if len(frame) > MAX_ROWS else frame


def _example(file: str, target: str, leave_out: tuple[str, ...] = ()) -> Table:
    frame = _sample(read_table(DATA / file).dropna(subset=target))
    return _table(frame.drop(columns=[target, *leave_out]), frame[target])


def _california() -> Table:
    parts = [read_table(DATA / f"california_housing_{part}.csv") for part in ("train", "test")]
    frame = _sample(pd.concat(parts, ignore_index=True))
    return _table(frame.drop(columns="median_house_value"), frame["median_house_value"])


def _scikit_learn(name: str) -> Table:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return _table(frame.drop(columns="target"), frame["target"])


#: Standard deviations of the noise, as in Friedman, Multivariate adaptive regression splines, 1991: three times
#: less than that of the function (function 1 has noise 1).
_FRIEDMAN_NOISE = {1: 1.0, 2: 125.0, 3: 0.1}


def _friedman(number: int, rows: int) -> Table:
    make = getattr(datasets, f"make_friedman{number}")
    x, y = make(n_samples=rows, noise=_FRIEDMAN_NOISE[number], random_state=0)
    return _table(pd.DataFrame(x).add_prefix("x"), pd.Series(np.asarray(y)))


TABLES: dict[str, Callable[[], Table]] = {
    "titanic": partial(_example, "titanic.csv", "survived", ("alive",)),
    "penguins": partial(_example, "penguins.csv", "species"),
    **{name: partial(_scikit_learn, name) for name in ("diabetes", "breast_cancer", "iris", "wine")},
    **{f"friedman{n}-500": partial(_friedman, n, 500) for n in (1, 2, 3)},
    **{f"friedman{n}-10000": partial(_friedman, n, 10_000) for n in (1, 2, 3)},
    "digits": partial(_scikit_learn, "digits"),
    "california": _california,
    "adult": partial(_example, "adult.csv.gz", "Income"),
}


def tables_of(folder: Path | None) -> dict[str, Callable[[], Table]]:
    """Name the tables of a folder with a manifest; without a folder those that come with packages and examples.

    Raises:
        UserError: the folder has no manifest, or one that is not a list of tables.
    """
    if folder is None:
        return TABLES
    manifest = folder / "manifest.json"
    try:
        entries = json.loads(manifest.read_text())
        return {entry["name"]: partial(_listed, folder, entry) for entry in entries}
    except OSError as error:
        raise UserError(f"{folder} must have a manifest.json, a list of its tables: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f'{manifest} must be a list of {{"name", "file", "target"}}: {type(error).__name__}: {error}'
        ) from error


def _listed(folder: Path, entry: dict[str, Any]) -> Table:
    """Read a table of a folder.

    Raises:
        UserError: an entry or a file that lacks something.
        OSError, ValueError: a file that cannot be read.
    """
    if absent := [key for key in ("file", "target") if key not in entry]:
        raise UserError(f"its entry in the manifest has no {absent[0]!r}")
    frame = pd.read_csv(folder / entry["file"])
    for column in (entry["target"], *entry.get("drop", []), *([entry["exposure"]] if "exposure" in entry else [])):
        required_column(frame, column)
    frame = _sample(frame.dropna(subset=entry["target"]))
    exposure = frame[entry["exposure"]] if "exposure" in entry else None
    left_out = [entry["target"], *entry.get("drop", []), *([entry["exposure"]] if exposure is not None else [])]
    return _table(frame.drop(columns=left_out), frame[entry["target"]], entry.get("task"), exposure)
