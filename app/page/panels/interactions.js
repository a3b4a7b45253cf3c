// Interactions: which pairs of features give more, or less, together than each gives alone.

import { dataTable, makeChart, quietAxis } from "../charts/charts.js";
import { byId, make, say } from "../dom.js";
import { decimalsFor, format, signed } from "../charts/numbers.js";
import { scoreUnit } from "../client/outcome.js";
import { colour } from "../charts/theme.js";

const MOST = 8;
/** Below this an interaction is the rounding of others. */
const NOTHING = 1e-9;
const ROW = 26;
const NARROW_ROW = 36;
/** Below this width, in pixels, names take two lines. */
const NARROW = 480;
const AXIS = 22;
const NO_PAIR = "Fewer than two features differ from the typical row: no pair has anything to give.";

export class InteractionsPanel {
  #chart = null;
  #found = null;
  #frame = make("div", { class: "interactions-frame" });
  #reason = make("p", { class: "note" });
  #table = dataTable("Interactions of pairs of features", () => this.#rows());

  build(card) {
    this.#found = null;
    this.#chart?.destroy();
    const note =
      `The largest Shapley interactions, in ${scoreUnit(card)}: what two features give together beyond what each gives ` +
      "without the other, against the typical row.";
    byId("interactions").replaceChildren(make("p", { class: "note", text: note }), this.#reason, this.#frame, this.#table.element);
    this.#chart = makeChart(this.#frame, "Shapley interactions", pairChart());
  }

  show({ interactions }) {
    byId("interactions-section").hidden = false;
    this.#found = interactions;
    this.#draw();
  }

  redraw() {
    if (this.#found !== null) this.#draw();
  }

  #draw() {
    const { shapley, reason } = this.#found;
    // No amounts where too many features differ: the server says why.
    this.#table.element.hidden = shapley === null;
    const none = Object.values(shapley ?? {}).every((amount) => Math.abs(amount) < NOTHING);
    this.#frame.hidden = none;
    const text = shapley === null ? `There are none for this row: ${reason}.` : NO_PAIR;
    say(this.#reason, none ? text : "");
    if (shapley === null) return;
    const pairs = byMagnitude(shapley).slice(0, MOST);
    const { data } = this.#chart;
    data.labels = pairs;
    data.datasets[0].data = pairs.map((pair) => shapley[pair]);
    data.datasets[0].backgroundColor = data.datasets[0].data.map((amount) => colour(amount >= 0 ? "raises" : "lowers"));
    const height = this.#frame.offsetWidth < NARROW ? NARROW_ROW : ROW;
    this.#frame.style.height = `${pairs.length * height + AXIS}px`;
    this.#chart.resize();
    this.#chart.update("none");
    this.#table.refresh();
  }

  #rows() {
    const { shapley, second_derivatives: curved } = this.#found;
    const decimals = decimalsFor(...Object.values(shapley));
    const rows = byMagnitude(shapley).map((pair) => {
      const second = curved[pair];
      return [pair, signed(shapley[pair], decimals), second === undefined || second === null ? "\u2013" : format(second)];
    });
    return [["Pair", "Shapley interaction", "Second derivative"], ...rows];
  }
}

const byMagnitude = (amounts) => Object.keys(amounts).sort((a, b) => Math.abs(amounts[b]) - Math.abs(amounts[a]));

function pairChart() {
  return {
    type: "bar",
    data: { labels: [], datasets: [{ data: [], borderRadius: 2, minBarLength: 2, categoryPercentage: 1, barPercentage: 0.5 }] },
    options: {
      indexAxis: "y",
      scales: {
        y: { grid: { display: false }, border: { display: false }, ticks: { autoSkip: false, color: () => colour("ink"), callback: label } },
        x: quietAxis({ afterFit: (axis) => (axis.height = AXIS) }),
      },
      plugins: { tooltip: { callbacks: { label: ({ raw }) => signed(raw) } } },
    },
  };
}

/** A pair's name, in two lines where one would leave no room for bars. */
function label(index) {
  const text = this.getLabelForValue(index);
  return this.chart.width < NARROW && text.length > 18 ? text.split(" & ").map((name, i) => (i ? `& ${name}` : name)) : text;
}
