"""Convert explanations for other tools: a pandas DataFrame, shap's own Explanation, and HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import category_key, short_time
from eigenserve.model.rows.features import Feature, FeatureSpace

#: Rows and contributions that a notebook shows; the rest is counted.
MOST_ROWS, MOST_TERMS = 5, 6


@dataclass(frozen=True)
class ExplainedRows:
    """Hold the rows that were explained.

    Attributes:
        features: the model's.
        columns: (N, F) as ``FeatureSpace.encode`` gives them.
        terms: positions of each term's features.
    """

    features: FeatureSpace
    columns: FloatArray
    terms: tuple[tuple[int, ...], ...]

    def texts(self, position: int) -> list[str]:
        """Write the terms' values in one row as text, as a reader would."""
        row = row_values(self.features, self.columns[position]).values()
        cells = [_text(feature, value) for feature, value in zip(self.features.features, row, strict=True)]
        return [", ".join(cells[i] for i in term) for term in self.terms]

    def values(self) -> NDArray[Any]:
        """Return the features' values (N, T): float64 if each term is a number, else objects, and pairs as text."""
        shown = [_shown(feature, self.columns[:, i]) for i, feature in enumerate(self.features.features)]
        if all(len(term) == 1 and shown[term[0]].dtype == np.float64 for term in self.terms):
            return np.stack([shown[i] for (i,) in self.terms], axis=1)
        out = np.empty((len(self.columns), len(self.terms)), object)
        for t, term in enumerate(self.terms):
            if len(term) == 1:
                out[:, t] = shown[term[0]]
            else:
                parts = [shown[i].tolist() for i in term]
                out[:, t] = [", ".join(map(str, values)) for values in zip(*parts, strict=True)]
        return out


def row_values(features: FeatureSpace, columns: FloatArray) -> dict[str, Any]:
    """Return a row (F,) by feature name: numbers, days since 1970 for dates, categories, booleans, None for missing.

    A category that training did not know is called as ``Feature.labels`` does.
    """
    values = {}
    for feature, value in zip(features.features, columns, strict=True):
        shown = _shown(feature, np.array([value]))[0]
        known = not np.isnan(value) and shown is not None
        values[feature.name] = (bool(value) if feature.kind == "boolean" else shown) if known else None
    return values


def _shown(feature: Feature, values: FloatArray) -> NDArray[Any]:
    """Return a feature's column as a reader would write it: categories by their labels, None for missing ones."""
    if feature.kind != "categorical":
        return values.astype(np.float64)
    names = np.array([*feature.labels, None], object)
    return names[np.where(np.isnan(values), len(feature.labels), values).astype(int)]


def _text(feature: Feature, value: Any) -> str:
    if value is None:
        return "missing"
    if feature.kind == "datetime":
        return short_time(value)
    return f"{value:.6g}" if feature.kind == "numeric" else category_key(value)


def to_frame(
    terms: tuple[str, ...], score: FloatArray, baseline: FloatArray, contributions: FloatArray, gap: FloatArray
) -> Any:
    """Return a DataFrame with one row for each explained row.

    Its columns: ``score``, ``baseline``, the terms' contributions under the terms' names, ``gap``. Where a term is
    called like one of these others, all are written ``contributions.NAME``. score = baseline + the sum of the terms.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = needed("pandas", "to_frame()", "pandas")
    prefix = "contributions." if {"score", "baseline", "gap"} & set(terms) else ""
    columns = {prefix + term: values for term, values in zip(terms, contributions.T, strict=True)}
    return pandas.DataFrame({"score": score, "baseline": baseline, **columns, "gap": gap})


def to_shap(terms: tuple[str, ...], baseline: FloatArray, contributions: FloatArray, rows: ExplainedRows | None) -> Any:
    """Return a ``shap.Explanation``: values (N, T), base_values (N,), terms as feature_names, the features' data.

    The base values are the rows' baselines, one number for each explained class, or each row's own by "eigenvector".
    ``data`` is float64 where every term is a number, NaN for missing; otherwise objects, with the categories' names
    and a pair's two values as a text.

    Raises:
        ImportError: shap is not installed.
    """
    shap = needed("shap", "to_shap()", "shap")
    return shap.Explanation(
        values=np.array(contributions),
        base_values=np.array(baseline),
        data=None if rows is None else rows.values(),
        feature_names=list(terms),
    )


def needed(module: str, what: str, package: str) -> Any:
    """Import a module that is needed only for its own objects; serving needs none of them.

    Raises:
        ImportError: the package is missing; the message says which to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise ImportError(f"{what} needs {package}, which is not installed: pip install {package}") from None


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """Return a table of texts, which are escaped, with a note under it."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    foot = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>{foot}"


def signed(amount: float) -> str:
    """Write a contribution with its sign."""
    return f"{amount:+,.0f}" if abs(amount) >= 1e4 else f"{amount:+.4g}"
