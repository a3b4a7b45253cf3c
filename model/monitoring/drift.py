"""Compare what came in with what training had: by feature, score and contribution, with limits for chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eigenserve.model.monitoring.channels import Channel, ChannelKind, Counts
from eigenserve.model.monitoring.distances import (
    kolmogorov,
    kolmogorov_limit,
    share_evidence,
    share_limit,
    stability,
    stability_limit,
)
from eigenserve.model.monitoring.sketch import Sketch

#: The chance that a window in which nothing has changed raises any alarm at all.
LEVEL = 0.001
#: Differences that are too small to matter, however sure: in windows of any size the training rows themselves, which
#: the model has seen, have slightly other scores and contributions than unseen ones.
LEAST_KOLMOGOROV, LEAST_STABILITY = 0.02, 0.01


@dataclass(frozen=True)
class ChannelDrift:
    """Compare one quantity in a window with training.

    Attributes:
        kind, name: what is compared.
        rows: of the window, in which it was counted.
        psi, psi_limit: the population stability index, and what it exceeds by chance at the level; None without rows.
        ks, ks_limit: the Kolmogorov distance likewise; None for what has no order.
        missing, missing_training: shares of missing values.
        outside: share of values beyond the training range, or of unseen categories.
        changed: the bin whose share changed most surely: its label, its share in training and now.
        reasons: why there is an alarm; empty for none.
    """

    kind: ChannelKind
    name: str
    rows: int
    psi: float | None = None
    psi_limit: float | None = None
    ks: float | None = None
    ks_limit: float | None = None
    missing: float | None = None
    missing_training: float | None = None
    outside: float | None = None
    changed: tuple[str, float, float] | None = None
    reasons: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        """Return whether any difference is beyond chance."""
        return bool(self.reasons)

    def document(self) -> dict[str, Any]:
        """Return its JSON form."""
        shown = {key: value for key, value in vars(self).items() if key != "changed"}
        if self.changed is not None:
            shown["changed"] = dict(zip(("bin", "training", "now"), self.changed, strict=True))
        return {**shown, "reasons": list(self.reasons), "alarm": self.alarm}


def measure_drift(sketch: Sketch, counts: Counts, level: float = LEVEL) -> list[ChannelDrift]:
    """Compare the counts of a window with those of training, channel by channel.

    Rows count as independent draws: a window of copies, or of one hour of a day, drifts from a year's rows.

    Args:
        sketch: of the training rows.
        counts: of the window, as ``Counting`` counts them.
        level: the chance of an alarm in any channel where nothing has changed, by Bonferroni's inequality.
    """
    # Half of the level for shares of features' bins, half for distances and indices of all channels.
    of_shares = level / 2.0 / max(1, len(sketch.of("feature")))
    of_distances = level / 4.0 / max(1, len(sketch.channels))
    return [
        _compare(channel, counts[sketch.offsets[c] : sketch.offsets[c + 1]], of_distances, of_shares)
        for c, channel in enumerate(sketch.channels)
    ]


def _compare(channel: Channel, window: Counts, chance: float, of_shares: float) -> ChannelDrift:
    training = np.array(channel.counts, np.int64)
    m, n = int(training.sum()), int(window.sum())
    if not n or not m:
        return ChannelDrift(channel.kind, channel.name, n)
    reasons: list[str] = []
    psi, freedom = stability(training, window)
    psi_limit = max(LEAST_STABILITY, stability_limit(m, n, freedom, chance))
    ks = ks_limit = None
    present = int(training[:-1].sum()), int(window[:-1].sum())
    if channel.is_ordered and min(present):
        ks = kolmogorov(training[:-1], window[:-1])
        ks_limit = max(LEAST_KOLMOGOROV, kolmogorov_limit(*present, chance))
        if ks > ks_limit:
            reasons.append(f"Kolmogorov distance {ks:.3f} is above {ks_limit:.3f}")
    if freedom and psi > psi_limit:
        reasons.append(f"stability index {psi:.3f} is above {psi_limit:.3f}")
    evidence, special = share_evidence(training, window), list(channel.special)
    most = special[int(evidence[special].argmax())]
    changed = channel.label(most), float(training[most] / m), float(window[most] / n)
    if channel.kind == "feature" and evidence[most] > share_limit(len(special), of_shares):
        reasons.append(f"{changed[0]}: {_percent(changed[1])} in training, {_percent(changed[2])} now")
    return ChannelDrift(
        channel.kind,
        channel.name,
        n,
        psi,
        psi_limit,
        ks,
        ks_limit,
        missing=float(window[-1] / n),
        missing_training=float(training[-1] / m),
        outside=float(window[list(channel.outside)].sum() / n),
        changed=changed,
        reasons=tuple(reasons),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
