"""Losses of many learners on many tables as Markdown, with paired standard errors."""

from typing import Any

import numpy as np

#: Whose losses are compared with the others'.
OURS = "eigenserve"


def markdown(name: str, entry: dict[str, Any]) -> str:
    """Tabulate one comparison: mean losses, the difference to ours with its standard error over splits, and costs."""
    ours = losses_of(entry, OURS)
    lines = [
        f"\n### {name} ({entry['rows']:,} rows, {entry['task']})\n",
        "| learner | loss | ours / theirs | fit s | processor s | predict µs/row | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for learner, results in entry["learners"].items():
        good = [result for result in results.values() if "loss" in result]
        if not good:
            for result in results.values():
                lines.append(f"| {learner} | {result['failed']} | | | | | |")
            continue
        losses = losses_of(entry, learner)
        ratio = "" if learner == OURS else ratio_text(ours, losses)
        means = [
            np.mean([result[key] for result in good]) for key in ("fit_s", "fit_cpu_s", "predict_us", "peak_bytes")
        ]
        lines.append(
            f"| {learner} | {np.mean(list(losses.values())):.5g} | {ratio} | {means[0]:.1f} | {means[1]:.1f} | "
            f"{means[2]:.1f} | {means[3] / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def summary(done: dict[str, Any]) -> str:
    """Tabulate geometric means of (our loss / theirs) over tables, and on how many ours is lower."""
    groups = {
        "all": lambda task: True,
        "numbers and counts": lambda task: task in ("regression", "poisson"),
        "classes": lambda task: task in ("binary", "multiclass"),
    }
    learners = [name for name in dict.fromkeys(n for entry in done.values() for n in entry["learners"]) if name != OURS]
    lines = ["\n### All tables\n", f"| against | {' | '.join(groups)} |", f"|---|{'---|' * len(groups)}"]
    for learner in learners:
        cells = []
        for suits in groups.values():
            logs = [
                ratio
                for entry in done.values()
                if suits(entry["task"]) and (ratio := log_ratio(losses_of(entry, OURS), losses_of(entry, learner)))
            ]
            if not logs:
                cells.append("")
                continue
            means = np.array([mean for mean, _ in logs])
            error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0
            better = int((means < 0).sum())
            cells.append(f"{np.exp(means.mean()):.3f} ± {error:.3f}, {better} of {len(means)}")
        lines.append(f"| {learner} | {' | '.join(cells)} |")
    return "\n".join(lines)


def losses_of(entry: dict[str, Any], learner: str) -> dict[str, float]:
    """Return split -> loss, of those that ended well."""
    return {split: result["loss"] for split, result in entry["learners"].get(learner, {}).items() if "loss" in result}


def log_ratio(ours: dict[str, float], theirs: dict[str, float]) -> tuple[float, float] | None:
    """Return the mean of log(our loss / theirs) over the splits that both have, and its standard error."""
    logs = np.array([np.log(ours[split] / theirs[split]) for split in ours if split in theirs])
    if len(logs) == 0:
        return None
    return float(logs.mean()), float(logs.std(ddof=1) / len(logs) ** 0.5) if len(logs) > 1 else 0.0


def ratio_text(ours: dict[str, float], theirs: dict[str, float]) -> str:
    """Write the geometric mean of (our loss / theirs) with the standard error of its logarithm."""
    ratio = log_ratio(ours, theirs)
    return "" if ratio is None else f"{np.exp(ratio[0]):.3f} ± {ratio[1]:.3f}"
