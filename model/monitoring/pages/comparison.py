"""Write the comparison of two models on one page: what has changed, for whom, and why."""

from __future__ import annotations

from collections.abc import Mapping

from eigenserve.model.monitoring.accuracy import Accuracy
from eigenserve.model.monitoring.comparison import QUANTILES, Comparison
from eigenserve.model.monitoring.pages.blocks import Block, Heading, Items, Table, Text
from eigenserve.model.monitoring.pages.figures import figure_text

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
                    *map(figure_text, comparison.quantiles),
                    figure_text(comparison.mean),
                ]
            ],
        ),
    ]
    if comparison.cutoff is not None:
        agreed, only_first, only_second, neither = comparison.sides
        blocks += [
            Text(f"Side of the cutoff {figure_text(comparison.cutoff)}, in rows:"),
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
    different = [
        [str(row.row), figure_text(row.first), figure_text(row.second), row.feature] for row in comparison.different
    ]
    shares = [[share.name, _part(share.first), _part(share.second)] for share in comparison.shares[:SHOWN_FEATURES]]
    blocks += [
        Heading("Reasons"),
        Text(
            f"Share of all contributions' size, of {comparison.explained:,} explained rows, largest difference first."
        ),
        Table(["Feature", first, second], shares),
        Heading("Rows that differ most"),
        Table(["Row", first, second, "Feature whose contribution differs most"], different),
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
    decided = "their class" if comparison.cutoff is None else f"side of {figure_text(comparison.cutoff)}"
    lines += [
        f"{_share(comparison.changed_sides)} of {comparison.rows:,} rows change {decided}.",
        f"Half of the rows differ by at most {figure_text(comparison.quantiles[0])} in the {comparison.unit}, whose "
        f"standard deviation is {figure_text(comparison.spread)}.",
        f"The largest contribution is the same feature's in {_share(comparison.same_leading)} of rows.",
    ]
    return lines


def _without(model: str, name: str, share: float | None, other: str) -> str:
    return f"{model} was trained without {name!r}, which has {_part(share)} of the contributions of {other}."


def _unused(model: str, name: str, share: float | None, other: str) -> str:
    return f"{model} makes no use of {name!r}, which has {_part(share)} of the contributions of {other}."


def _metric(metric: Accuracy) -> str:
    error = "" if metric.standard_error is None else f" ± {figure_text(metric.standard_error)}"
    return figure_text(metric.value) + error


def _part(share: float | None) -> str:
    return "not a feature" if share is None else _share(share)


def _share(share: float) -> str:
    return f"{100 * share:.3g}%"
