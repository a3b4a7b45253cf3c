"""Write the comparison of two models on one page: what has changed, for whom, and why."""

from __future__ import annotations

from collections.abc import Mapping

from eigenserve.model.monitoring.accuracy import Accuracy
from eigenserve.model.monitoring.comparison import QUANTILES, Comparison
from eigenserve.training.report.blocks import Block, Heading, Items, Table, Text

#: Features that are listed: one page.
SHOWN_FEATURES = 12


def comparison_blocks(
    names: tuple[str, str], comparison: Comparison, metrics: tuple[Mapping[str, Accuracy], Mapping[str, Accuracy]]
) -> list[Block]:
    """Return the page of a comparison.

    Args:
        names: of the two models.
        comparison: how they differ.
        metrics: how good each is on the same rows; empty where the target is not known.
    """
    first, second = names
    blocks: list[Block] = [Heading(f"{second} compared with {first}", 1), Items(_summary(names, comparison))]
    blocks += [
        Heading("Predictions"),
        Table(
            [f"Difference of the {comparison.unit}", *(_share(share) for share in QUANTILES[:-1]), "largest", "mean"],
            [
                [
                    "size, for this share of rows at most",
                    *map(_number, comparison.quantiles),
                    _number(comparison.mean),
                ]
            ],
        ),
    ]
    if comparison.cutoff is not None:
        agreed, only_first, only_second, neither = comparison.sides
        blocks += [
            Text(f"Side of the cutoff {_number(comparison.cutoff)}, in rows:"),
            Table(
                ["", f"{second}: above", f"{second}: not above"],
                [
                    [f"{first}: above", f"{agreed:,}", f"{only_first:,}"],
                    [f"{first}: not above", f"{only_second:,}", f"{neither:,}"],
                ],
            ),
        ]
    if metrics[0]:
        rows = [
            [name, _metric(metrics[0][name]), _metric(metrics[1][name])] for name in metrics[0] if name in metrics[1]
        ]
        blocks += [Heading("Accuracy on these rows"), Table(["Metric", first, second], rows)]
    shares = [[share.name, _part(share.first), _part(share.second)] for share in comparison.shares[:SHOWN_FEATURES]]
    blocks += [
        Heading("Reasons"),
        Text(
            f"Share of all contributions' size, of {comparison.explained:,} explained rows, largest difference first."
        ),
        Table(["Feature", first, second], shares),
        Heading("Rows that differ most"),
        Table(
            ["Row", first, second, "Feature whose contribution differs most"],
            [[str(row.row), _number(row.first), _number(row.second), row.feature] for row in comparison.different],
        ),
    ]
    return blocks


def _summary(names: tuple[str, str], comparison: Comparison) -> list[str]:
    first, second = names
    shares = {share.name: share for share in comparison.shares}
    lines = [_without(second, name, shares[name].first, first) for name in comparison.only_first]
    lines += [_without(first, name, shares[name].second, second) for name in comparison.only_second]
    lines += [_unused(first, name, shares[name].second, second) for name in comparison.unused_first]
    lines += [_unused(second, name, shares[name].first, first) for name in comparison.unused_second]
    if not lines:
        lines.append("Both use the same features.")
    decided = "their class" if comparison.cutoff is None else f"side of {_number(comparison.cutoff)}"
    lines += [
        f"{_share(comparison.changed_sides)} of {comparison.rows:,} rows change {decided}.",
        f"Half of the rows differ by at most {_number(comparison.quantiles[0])} in the {comparison.unit}, of standard "
        f"deviation {_number(comparison.spread)}.",
        f"The largest contribution is the same feature's in {_share(comparison.same_leading)} of rows.",
    ]
    return lines


def _without(model: str, name: str, share: float | None, other: str) -> str:
    return f"{model} was trained without {name!r}, which has {_part(share)} of the contributions of {other}."


def _unused(model: str, name: str, share: float | None, other: str) -> str:
    return f"{model} makes no use of {name!r}, which has {_part(share)} of the contributions of {other}."


def _metric(metric: Accuracy) -> str:
    error = "" if metric.standard_error is None else f" ± {_number(metric.standard_error)}"
    return _number(metric.value) + error


def _part(share: float | None) -> str:
    return "not a feature" if share is None else _share(share)


def _share(share: float) -> str:
    return f"{100 * share:.3g}%"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.4g}"
