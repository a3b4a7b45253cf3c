// The waterfall: from the baseline, contribution by contribution, to the score. A table whose middle is a chart.

import { colour } from "../charts/theme.js";
import { makeChart, quietAxis, steadyRange } from "../charts/charts.js";
import { byId, make, named, say } from "../dom.js";
import { decimalsFor, format, plain, signed } from "../charts/numbers.js";
import { explainedClass, fromScore, numberText, scoreUnit } from "../client/outcome.js";

/** Terms with a separate row; the others share one. */
const MOST = 12;
/** Height of the axis below the rows, in pixels. */
const AXIS = 22;
const BASELINES = {
  integrated: "the score of the average training row, the same for every row",
  eigenvector: "what this row’s eigenvector gives to the average training row",
  path: "the score of a row of typical values, from which a straight line leads here",
  shapley_terms: "the score of the average training row, the same for every row",
  shapley: "the score of a row of typical values, whose values stand in for the features left out",
};

export class Waterfall {
  #card = null;
  #chart = null;
  #fit = steadyRange();
  #order = [];
  #all = false;
  #rows = [];
  #body = make("tbody");
  #plot = make("div", { class: "plot" });
  #more = make("button", { type: "button", class: "more", hidden: true });
  #last = null;
  #width = 0;

  constructor() {
    // The chart lies over the table, wherever that is.
    new ResizeObserver(() => this.#last !== null && this.#fitIn()).observe(byId("waterfall"));
  }

  /** Take another model. */
  build(card) {
    this.#card = card;
    this.#order = [];
    this.#all = false;
    this.#fit = steadyRange();
    const head = make("tr", {}, ...["Term", "", "Contribution"].map((text) => make("th", { scope: "col", text })));
    head.children[1].setAttribute("aria-hidden", "true");
    const caption = make("caption", { class: "unseen", text: "Contributions, from the baseline to the score" });
    const table = make("table", {}, caption, make("thead", {}, head), this.#body);
    byId("waterfall").replaceChildren(table, this.#plot, this.#more);
    this.#more.onclick = () => {
      this.#all = !this.#all;
      this.#order = [];
      this.redraw();
    };
    this.#chart?.destroy();
    this.#chart = this.#makeChart();
  }

  /** Show an explanation; the question gives the values next to the names. Terms are sorted again only while nothing is dragged. */
  show(explanation, { method, row, target, resting }) {
    this.#last = { explanation, method, row, target };
    this.#update(resting);
  }

  redraw() {
    if (this.#last !== null) this.#update(true);
  }

  /** The largest contributions in words. */
  spoken() {
    if (this.#last === null) return "";
    const { contributions } = this.#last.explanation;
    const values = Object.values(contributions);
    const decimals = decimalsFor(...values);
    const largest = byMagnitude(contributions).slice(0, 3);
    return `Most of it: ${largest.map((term) => `${term} ${signed(contributions[term], decimals)}`).join(", ")}.`;
  }

  #update(resting) {
    const { explanation, method, row, target } = this.#last;
    const { contributions, baseline, score, prediction } = explanation;
    const label = explainedClass(this.#card, target, prediction);
    const terms = Object.keys(contributions);
    if (resting || this.#order.length !== terms.length || this.#order.some((term) => !(term in contributions)))
      this.#order = byMagnitude(contributions);
    const steps = this.#steps(contributions, row);
    const decimals = decimalsFor(...Object.values(contributions), score - baseline);
    const lines = [
      { name: "baseline", text: format(baseline, decimals), kind: "end", from: baseline, to: baseline },
      ...running(steps, baseline).map((step) => ({ ...step, text: signed(step.amount, decimals), kind: "step" })),
      { name: "score", value: this.#meaning(score), text: format(score, decimals), kind: "end", from: score, to: score },
    ];
    this.#fill(lines);
    this.#draw(lines, resting);
    const whose = label === null ? "" : `Score of the class ${label}, in ${scoreUnit(this.#card)}. `;
    const several = this.#card.classes.length > 2 ? " Each class has another one." : "";
    say(byId("why-note"), `${whose}${this.spoken()} The baseline is ${BASELINES[method]}.${several}`);
  }

  /** What has a row: the terms in their order, the smallest of many together. */
  #steps(contributions, row) {
    // A list of zeros says nothing: those terms are counted.
    const silent = this.#order.filter((name) => contributions[name] === 0);
    const order = silent.length > 1 ? this.#order.filter((name) => contributions[name] !== 0) : this.#order;
    const shown = this.#all || order.length <= MOST + 1 ? order : order.slice(0, MOST);
    const rest = order.slice(shown.length);
    const steps = shown.map((name) => ({ name, value: valueText(name, row), amount: contributions[name] }));
    if (rest.length) {
      const amount = rest.reduce((sum, name) => sum + contributions[name], 0);
      steps.push({ name: `${rest.length} smaller terms`, value: "", amount });
    }
    if (order !== this.#order) steps.push({ name: `${silent.length} terms without an effect here`, value: "", amount: 0 });
    this.#more.hidden = order.length <= MOST + 1;
    say(this.#more, this.#all ? "Show fewer" : `Show all ${order.length} terms`);
    return steps;
  }

  #meaning(score) {
    const number = fromScore(this.#card, score);
    return this.#card.link === "identity" || number === null ? "" : `= ${numberText(this.#card, number)}`;
  }

  #fill(lines) {
    while (this.#rows.length < lines.length) {
      const name = make("span", { class: "term" });
      const value = make("span", { class: "value" });
      const text = make("td", { class: "number" });
      const cell = make("td", { class: "bars", "aria-hidden": "true" });
      this.#rows.push({ name, value, text, row: make("tr", {}, make("th", { scope: "row" }, name, value), cell, text) });
    }
    const wanted = this.#rows.slice(0, lines.length);
    if (this.#body.children.length !== lines.length) this.#body.replaceChildren(...wanted.map(({ row }) => row));
    lines.forEach((line, i) => {
      const { name, value, text, row } = wanted[i];
      if (name.textContent !== line.name) name.replaceChildren(...named(line.name));
      say(value, line.value ?? "");
      say(text, line.text);
      row.className = line.kind;
      row.dataset.sign = line.kind === "end" ? "" : Math.sign(line.amount);
    });
  }

  #makeChart() {
    const label = "Waterfall of the contributions; the table around it has the numbers";
    return makeChart(this.#plot, label, {
      type: "bar",
      data: { labels: [], datasets: [{ data: [], backgroundColor: [], borderRadius: 2, minBarLength: 2 }] },
      options: {
        indexAxis: "y",
        events: [],
        layout: { padding: 0 },
        datasets: { bar: { categoryPercentage: 1, barPercentage: 0.56 } },
        scales: {
          y: { type: "category", display: false, offset: true },
          x: quietAxis({ afterFit: (axis) => (axis.height = AXIS), ticks: { maxTicksLimit: 5, includeBounds: false } }),
        },
        plugins: { tooltip: { enabled: false } },
      },
      plugins: [connectors],
    });
  }

  #draw(lines, resting) {
    const chart = this.#chart;
    const [data] = chart.data.datasets;
    const ends = lines.flatMap(({ from, to }) => [from, to]);
    const [low, high] = this.#fit(Math.min(...ends), Math.max(...ends), resting);
    const paint = { step: (line) => colour(line.amount >= 0 ? "raises" : "lowers"), end: () => colour("ink") };
    chart.data.labels = lines.map(({ name }) => name);
    data.data = lines.map(({ from, to }) => [from, to]);
    data.backgroundColor = lines.map((line) => paint[line.kind](line));
    Object.assign(chart.options.scales.x, { min: low, max: high });
    if (resting) this.#level();
    this.#place();
    chart.update("none");
  }

  /** Take another width. */
  #fitIn() {
    const width = byId("waterfall").offsetWidth;
    if (width !== this.#width) this.#level();
    this.#width = width;
    this.#place();
  }

  /** Make all rows as tall as the tallest, whose name may take several lines. */
  #level() {
    const { style } = this.#body;
    style.removeProperty("--row");
    const tallest = Math.max(...this.#rows.map(({ row }) => row.offsetHeight));
    style.setProperty("--row", `${tallest}px`);
  }

  /** Lay the chart over the table's middle column, a bar to a row. */
  #place() {
    const cell = this.#rows[0].row.children[1];
    const { style } = this.#plot;
    style.height = `${this.#body.getBoundingClientRect().height + AXIS}px`;
    style.top = `${this.#body.offsetTop}px`;
    style.left = `${cell.offsetLeft}px`;
    style.width = `${cell.offsetWidth}px`;
  }
}

/** Thin lines that carry each bar's end to the next bar. */
const connectors = {
  id: "connectors",
  beforeDatasetsDraw(chart) {
    const { ctx, scales } = chart;
    const bars = chart.getDatasetMeta(0).data;
    const values = chart.data.datasets[0].data;
    ctx.save();
    ctx.strokeStyle = colour("faint");
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let i = 0; i + 1 < bars.length; i += 1) {
      const x = Math.round(scales.x.getPixelForValue(values[i][1])) + 0.5;
      ctx.moveTo(x, bars[i].y);
      ctx.lineTo(x, bars[i + 1].y);
    }
    ctx.stroke();
    ctx.restore();
  },
};

/** Steps with where each begins and ends. */
function running(steps, baseline) {
  let at = baseline;
  return steps.map((step) => {
    const from = at;
    at += step.amount;
    return { ...step, from, to: at };
  });
}

function byMagnitude(contributions) {
  return Object.keys(contributions).sort((a, b) => Math.abs(contributions[b]) - Math.abs(contributions[a]));
}

/** The row's value of a term: of a pair, both. */
export function valueText(term, row) {
  const names = term in row ? [term] : pairOf(term, row);
  // A cycle does not have a value in a row: it is computed from its date.
  return names.filter((name) => name in row).map((name) => one(row[name])).join(", ");
}

/** The two features of a pair, whose names may hold the sign that joins them. */
function pairOf(term, row) {
  for (const first of Object.keys(row)) {
    const rest = term.startsWith(`${first} &`) ? term.slice(first.length).replace(/^ &+ /, "") : null;
    if (rest !== null && rest in row) return [first, rest];
  }
  return term.split(/ &+ /);
}

function one(value) {
  if (value === null || value === undefined) return "missing";
  return typeof value === "number" ? plain(value) : String(value);
}
