// What if: the response of the prediction to each feature through the row, with kinks, crossings and the point itself.

import { choiceAxis, trackAxis } from "../charts/axes.js";
import { dataTable, makeChart, quietAxis, steadyRange } from "../charts/charts.js";
import { byId, make, named, say } from "../dom.js";
import { format, short, shortPercent, stepOf } from "../charts/numbers.js";
import { explainedClass, numberText } from "../client/outcome.js";
import { colour } from "../charts/theme.js";

/** Where the point of a missing value stands on a track that ends at 1. */
const MISSING_AT = 1.07;
/** The common range of probabilities. */
const PROBABLE = [-0.06, 1.06];
const [LINE, MISSING, KINKS, CROSSINGS, POINT] = [0, 1, 2, 3, 4];

export class CurvesPanel {
  #card = null;
  #curves = [];
  #fit = steadyRange();
  #common = true;
  #last = null;
  #go;

  /** `go(name, value, resting)` is called when the reader points at a place of a curve. */
  constructor(go) {
    this.#go = go;
    const on = { change: (event) => this.#scale(event.target.checked) };
    const box = make("input", { type: "checkbox", checked: true, on });
    byId("curves-legend").append(make("li", { class: "plain" }, make("label", { class: "check" }, box, "same scale for all")));
  }

  build(card) {
    this.#card = card;
    this.#last = null;
    this.#fit = steadyRange();
    for (const curve of this.#curves) curve.destroy();
    this.#curves = card.features.map((feature) => new FeatureCurve(card, feature, this.#go));
    byId("curves").replaceChildren(...this.#curves.map(({ element }) => element));
  }

  show({ curves, prediction }, { row, target, resting }) {
    const label = explainedClass(this.#card, target, prediction);
    say(byId("curves-what"), label === null ? this.#card.target : `probability of ${label}`);
    this.#last = { curves, row };
    this.#draw(resting);
  }

  redraw() {
    if (this.#last !== null) this.#draw(true);
  }

  #scale(common) {
    this.#common = common;
    this.redraw();
  }

  #draw(resting) {
    const { curves, row } = this.#last;
    const heights = Object.values(curves).flatMap((curve) => range(curve));
    const probable = this.#card.classes.length > 0;
    const common = probable ? PROBABLE : this.#fit(Math.min(...heights), Math.max(...heights), resting);
    for (const curve of this.#curves) {
      const found = curves[curve.name];
      if (found !== undefined) curve.draw(found, row[curve.name], this.#common ? common : null, resting);
    }
  }
}

/** One feature's chart and its table. */
class FeatureCurve {
  #card;
  #chart;
  #axis;
  #fit = steadyRange(0.12);
  #value = make("span", { class: "value" });
  #curve = null;
  #table;

  constructor(card, feature, go) {
    this.#card = card;
    this.name = feature.name;
    this.#axis = feature.categories === null && feature.kind !== "boolean" ? trackAxis(feature) : choiceAxis(feature);
    const frame = make("div", { class: "curve-frame" });
    this.#table = dataTable(`Prediction by ${feature.name}`, () => this.#rows());
    const title = make("h3", {}, ...named(feature.name), this.#value);
    this.element = make("div", { class: "curve" }, title, frame, this.#table.element);
    this.#chart = makeChart(frame, `Prediction by ${feature.name}`, this.#config());
    this.#listen(go);
  }

  destroy() {
    this.#chart.destroy();
  }

  draw(curve, value, common, resting) {
    this.#curve = curve;
    const { data, options } = this.#chart;
    const points = curve.values.map((at, i) => ({ x: this.#axis.position(at), y: curve.predictions[i], at }));
    const height = (at) => interpolate(curve, this.#axis.number(at));
    data.datasets[LINE].data = points;
    data.datasets[MISSING].data = curve.missing === null ? [] : this.#missingLine(curve.missing.prediction);
    data.datasets[CROSSINGS].data = curve.crossings.map(({ value: at, gap }) => ({
      x: this.#axis.position(at),
      y: height(at),
      at,
      gap,
    }));
    data.datasets[POINT].data = this.#point(curve, value);
    const [low, high] = common ?? this.#fit(Math.min(...range(curve)), Math.max(...range(curve)), resting);
    Object.assign(options.scales.y, { min: low, max: high });
    data.datasets[KINKS].data = curve.kinks.map((at) => ({ x: this.#axis.position(at), y: low }));
    options.scales.x.max = curve.missing === null ? this.#axis.max : this.#axis.max + MISSING_AT - 1;
    this.#chart.update("none");
    say(this.#value, this.#axis.text(value));
    if (resting) this.#table.refresh();
    if (resting) this.#chart.canvas.setAttribute("aria-label", this.#summary(curve, value));
  }

  #summary(curve, value) {
    const [low, high] = [Math.min(...curve.predictions), Math.max(...curve.predictions)].map((y) => this.#height(y));
    return `Prediction by ${this.name}: from ${low} to ${high}; now at ${this.#axis.text(value)}.`;
  }

  #height(number) {
    return numberText(this.#card, number);
  }

  #missingLine(y) {
    return [
      { x: this.#axis.min, y },
      { x: this.#axis.max + MISSING_AT - 1, y },
    ];
  }

  #point(curve, value) {
    if (value === null) {
      const y = curve.missing?.prediction;
      return y === undefined ? [] : [{ x: this.#axis.max + MISSING_AT - 1, y, at: null }];
    }
    const at = this.#axis.number(value);
    const y = this.#axis.choices ? curve.predictions[at] : interpolate(curve, at);
    return y === undefined ? [] : [{ x: this.#axis.position(at), y, at }];
  }

  #config() {
    const axis = this.#axis;
    const points = axis.choices;
    return {
      type: "scatter",
      data: {
        datasets: [
          dataset({ order: 3, showLine: !points, borderWidth: 1.75, pointRadius: points ? 4 : 0, pointHitRadius: 12 }, "curve", "paper"),
          dataset({ order: 4, showLine: true, borderWidth: 1, borderDash: [3, 3], pointRadius: 0 }, "faint"),
          dataset({ order: 2, pointStyle: "line", rotation: 90, pointRadius: 3.5, pointHitRadius: 0, borderWidth: 1 }, "curve"),
          dataset({ order: 1, pointStyle: "rectRot", pointRadius: 4.5, borderWidth: 1.5 }, "crossing", "paper"),
          dataset({ order: 0, pointRadius: 5.5, pointHoverRadius: 5.5, borderWidth: 2 }, "paper", "ink"),
        ],
      },
      options: {
        layout: { padding: { right: 8, top: 6 } },
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: {
          x: { ...axis.options, min: axis.min, max: axis.max },
          y: quietAxis({
            ticks: { maxTicksLimit: 4, callback: (y, _, ticks) => heightTick(this.#card, y, ticks) },
          }),
        },
        plugins: {
          tooltip: {
            filter: ({ datasetIndex }, i, items) => datasetIndex !== KINKS && items.findIndex((item) => item.datasetIndex !== KINKS) === i,
            callbacks: { title: () => "", label: ({ raw, datasetIndex }) => this.#hover(raw, datasetIndex) },
          },
        },
      },
    };
  }

  #hover({ at, y, gap }, kind) {
    const where = at === null || at === undefined ? "missing" : this.#axis.text(this.#axis.raw(at));
    const lines = [`${where} \u2192 ${this.#height(y)}`];
    if (kind === CROSSINGS) lines.push(`near crossing, gap ${format(gap)}`);
    return lines;
  }

  #rows() {
    const kinks = new Set(this.#curve.kinks);
    const rows = this.#curve.values.map((at, i) => [
      this.#axis.text(this.#axis.raw(this.#axis.choices ? i : at)),
      this.#height(this.#curve.predictions[i]),
      kinks.has(at) ? "kink" : "",
    ]);
    const { missing, crossings } = this.#curve;
    for (const { value, gap } of crossings)
      rows.push([this.#axis.text(this.#axis.raw(value)), this.#height(interpolate(this.#curve, value)), `crossing, gap ${format(gap)}`]);
    if (missing !== null) rows.push(["missing", this.#height(missing.prediction), ""]);
    return [[this.name, "Prediction", "Mark"], ...rows];
  }

  /** A press or a drag on the chart goes to the value below the pointer. */
  #listen(go) {
    const { canvas } = this.#chart;
    const report = (event, resting) => {
      const x = this.#chart.scales.x.getValueForPixel(event.offsetX);
      if (x !== undefined) go(this.name, this.#axis.raw(this.#axis.at(x)), resting);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      report(event, false);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) report(event, false);
    });
    canvas.addEventListener("pointerup", (event) => report(event, true));
  }
}

/** A tick of the axis of predictions: probabilities stay within 0 and 1. */
function heightTick(card, y, ticks) {
  if (!card.classes.length) return short(y, stepOf(ticks));
  return y < 0 || y > 1 ? "" : shortPercent(y, stepOf(ticks));
}

/** A dataset whose colours follow the theme. */
function dataset(options, border, background = border) {
  return {
    data: [],
    // Points at the ends of the track are shown whole.
    clip: 8,
    borderColor: () => colour(border),
    pointBorderColor: () => colour(border),
    pointBackgroundColor: () => colour(background),
    backgroundColor: () => colour(background),
    ...options,
  };
}

/** The prediction on the line between two vertices. */
function interpolate({ values, predictions }, at) {
  let after = values.findIndex((value) => value >= at);
  if (after < 0) after = values.length - 1;
  if (after === 0) return predictions[0];
  const share = Math.min(1, (at - values[after - 1]) / (values[after] - values[after - 1]));
  return predictions[after - 1] + share * (predictions[after] - predictions[after - 1]);
}

function range({ predictions, missing }) {
  return missing === null ? predictions : [...predictions, missing.prediction];
}
