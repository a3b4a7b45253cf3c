// Charts: what all of them share, on top of Chart.js.

import { colour } from "./theme.js";
import { short, stepOf } from "./numbers.js";
import { make } from "../dom.js";

const { Chart } = globalThis;

/** Fonts and habits of every chart, from the style sheet. */
export function setUpCharts() {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 11;
  Chart.defaults.animation = false;
  Chart.defaults.responsive = true;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.plugins.legend.display = false;
  Chart.defaults.plugins.tooltip.displayColors = false;
  Chart.defaults.plugins.tooltip.cornerRadius = 4;
  paintDefaults();
}

/** Colours change with the theme; charts take them at their next update. */
export function paintDefaults() {
  Chart.defaults.color = colour("muted");
  Chart.defaults.borderColor = colour("line");
  Chart.defaults.plugins.tooltip.backgroundColor = colour("ink");
  Chart.defaults.plugins.tooltip.titleColor = colour("paper");
  Chart.defaults.plugins.tooltip.bodyColor = colour("paper");
}

/** A chart in a separate frame; the frame's `canvas` is named for those who do not see it. */
export function makeChart(frame, label, config) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  frame.replaceChildren(canvas);
  return new Chart(canvas, config);
}

/** A linear axis with few, short, quiet ticks. */
export function quietAxis(extra = {}) {
  const { ticks, grid, ...rest } = extra;
  return {
    type: "linear",
    border: { display: false },
    grid: { color: () => colour("line"), drawTicks: false, ...grid },
    ticks: { color: () => colour("muted"), maxTicksLimit: 5, maxRotation: 0, includeBounds: false, padding: 4, callback: (value, _, all) => short(value, stepOf(all)), ...ticks },
    ...rest,
  };
}

/**
 * A range for an axis that does not tremble: while a value is dragged it only grows, and once it rests it fits
 * again. `fit(low, high, resting)` -> [low, high].
 */
export function steadyRange(margin = 0.06) {
  let held = null;
  return (low, high, resting) => {
    const room = (high - low || Math.abs(high) || 1) * margin;
    const wanted = [low - room, high + room];
    const inside = held !== null && low >= held[0] && high <= held[1];
    if (held === null || resting) held = wanted;
    else if (!inside) held = [Math.min(held[0], wanted[0]), Math.max(held[1], wanted[1])];
    return held;
  };
}

/** The numbers behind a chart, as a table that is made when it is opened. `rows()` gives texts, header row first. */
export function dataTable(caption, rows) {
  const holder = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  const details = make("details", { class: "data" }, make("summary", { text: "Data" }), holder);
  const fill = () => {
    if (!details.open) return;
    const [head, ...body] = rows();
    const line = (cells, tag) => make("tr", {}, ...cells.map((text, i) => cell(text, tag, i)));
    const cell = (text, tag, i) => make(i === 0 && tag === "td" ? "th" : tag, scope(tag, i), text);
    const scope = (tag, i) => ({ scope: tag === "th" ? "col" : i === 0 ? "row" : undefined });
    holder.replaceChildren(
      make(
        "table",
        {},
        make("caption", { class: "unseen", text: caption }),
        make("thead", {}, line(head, "th")),
        make("tbody", {}, ...body.map((cells) => line(cells, "td"))),
      ),
    );
  };
  details.addEventListener("toggle", fill);
  return { element: details, refresh: fill };
}
