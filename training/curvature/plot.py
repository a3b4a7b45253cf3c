"""Plot curvature, and write it as files next to a checkpoint's model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io
from plotly.subplots import make_subplots

from eigenserve.model.checkpoints.atomic import write_whole

CURVATURE = "curvature.json"
REPORT = "report.html"
#: The section's place in a report, so that measuring again replaces it.
BEGIN, END = "<!-- curvature -->", "<!-- /curvature -->"
#: The axis is linear within this share of the largest magnitude and logarithmic beyond: a Hessian's bulk lies
#: orders of magnitude below its outliers, on both sides of zero.
LINEAR_SHARE = 1e-5
#: Smearing of the density, in decades.
WIDTH_DECADES = 0.06


def curvature_figure(document: dict[str, Any]) -> go.Figure:
    """Draw what ``Curvature.document`` gives: the outermost eigenvalues, and the density of all."""
    nodes = np.array(document["density"]["nodes"])
    weights = np.array(document["density"]["weights"])
    outer = np.array(document["top"]["eigenvalues"] + document["bottom"]["eigenvalues"])
    reach = max(float(np.abs(np.concatenate([nodes, outer])).max()), np.finfo(float).tiny)
    unit = LINEAR_SHARE * reach
    places = np.arcsinh(nodes / unit) / np.log(10)
    edge = np.arcsinh(reach / unit) / np.log(10) + 4 * WIDTH_DECADES
    grid = np.linspace(-edge, edge, 801)
    kernel = np.exp(-0.5 * ((grid[:, None] - places) / WIDTH_DECADES) ** 2)
    density = kernel @ weights / (WIDTH_DECADES * np.sqrt(2 * np.pi))
    figure = make_subplots(rows=1, cols=2, subplot_titles=("Outermost eigenvalues", "Spectral density"))
    for name, part in (("largest", document["top"]), ("smallest", document["bottom"])):
        ranks = list(range(1, len(part["eigenvalues"]) + 1))
        figure.add_trace(
            go.Scatter(
                x=ranks,
                y=part["eigenvalues"],
                error_y={"type": "data", "array": part["residuals"]},
                mode="markers",
                name=name,
            ),
            row=1,
            col=1,
        )
    # Below this a share is less than one eigenvalue in the whole width of a peak.
    floor = 0.1 / document["parameters"]
    figure.add_trace(go.Scatter(x=grid, y=np.maximum(density, floor), mode="lines", name="density"), row=1, col=2)
    exponents = range(6)  # from the linear part, 1e-5 of the reach, to all of it
    ticks = [sign * unit * 10.0**e for sign in (-1, 1) for e in exponents] + [0.0]
    figure.update_xaxes(title="rank", dtick=1, row=1, col=1)
    figure.update_yaxes(title="eigenvalue", row=1, col=1)
    figure.update_xaxes(
        title="eigenvalue",
        tickvals=[float(np.arcsinh(t / unit) / np.log(10)) for t in ticks],
        ticktext=[f"{t:.0e}" if t else "0" for t in ticks],
        row=1,
        col=2,
    )
    figure.update_yaxes(title="share of eigenvalues per decade", type="log", row=1, col=2)
    return figure


def write_curvature(folder: Path, document: dict[str, Any]) -> list[Path]:
    """Write ``curvature.json`` into a version's folder and, if it has a report, a section into that.

    The model's own files stay as they are. Each file appears whole; an earlier measurement is replaced.

    Returns:
        The files written.
    """
    written = [folder / CURVATURE]
    with write_whole(written[0]) as file:
        file.write(json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    report = folder / REPORT
    if report.is_file():
        text = with_section(report.read_text(encoding="utf-8"), document)
        with write_whole(report) as file:
            file.write(text.encode())
        written.append(report)
    return written


def with_section(report: str, document: dict[str, Any]) -> str:
    """Append the curvature's section to a report (HTML), in place of an earlier one."""
    has_plotly = "Plotly.newPlot" in report.partition(BEGIN)[0]
    plot = plotly.io.to_html(
        curvature_figure(document), full_html=False, include_plotlyjs=not has_plotly, div_id="curvature"
    )
    section = f"{BEGIN}\n<section>\n<h2>Curvature</h2>\n<p>{summary(document)}</p>\n{plot}\n</section>\n{END}"
    if BEGIN in report:
        return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: section, report, flags=re.DOTALL)
    head, body_end, tail = report.rpartition("</body>")
    return f"{head}{section}\n{body_end}{tail}" if body_end else f"{report}\n{section}\n"


def summary(document: dict[str, Any]) -> str:
    """Summarise the figures in a sentence or two."""
    error = document["trace_standard_error"]
    return (
        f"Hessian of the mean {document['loss']} loss over {document['rows']:,} rows with respect to "
        f"{document['parameters']:,} entries of the matrices: largest eigenvalue "
        f"{document['top']['eigenvalues'][0]:.3g}, smallest {document['bottom']['eigenvalues'][0]:.3g}, "
        f"trace {document['trace']:.3g}" + (f" (standard error {error:.1g})." if error is not None else ".")
    )
