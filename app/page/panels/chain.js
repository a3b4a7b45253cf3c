// The eigenvector over the latent chain: which states take part in each member's eigenvalue, and the matrix it is of.

import { dataTable, makeChart, quietAxis, steadyRange } from "../charts/charts.js";
import { byId, make, say } from "../dom.js";
import { decimalsFor, format, percent, shortPercent } from "../charts/numbers.js";
import { scoreUnit } from "../client/outcome.js";
import { colour } from "../charts/theme.js";

export class ChainPanel {
  #card = null;
  #members = [];
  #chosen = 0;
  #minis = [];
  #shares = null;
  #matrix = null;
  #fit = steadyRange();
  #summary = make("p", { class: "note" });
  #table = dataTable("The chosen member’s eigenvector and matrix", () => this.#rows());

  build(card) {
    this.#card = card;
    this.#members = [];
    this.#chosen = 0;
    this.#fit = steadyRange();
    for (const { chart } of this.#minis) chart.destroy();
    this.#shares?.destroy();
    this.#matrix?.destroy();
    this.#minis = Array.from({ length: card.members }, (_, member) => this.#mini(member));
    const strip = make("div", { class: "members", role: "group", "aria-label": "Member" });
    strip.append(...this.#minis.map(({ button }) => button));
    const [shares, matrix] = ["shares", "matrix"].map((name) => make("div", { class: `chain-frame ${name}` }));
    const titles = ["Squared entries of the eigenvector", "The matrix that it belongs to"];
    byId("chain").replaceChildren(
      strip,
      this.#summary,
      make("h3", { text: titles[0] }),
      shares,
      make("h3", { text: titles[1] }),
      matrix,
      this.#table.element,
    );
    this.#shares = makeChart(shares, titles[0], shareChart());
    this.#matrix = makeChart(matrix, titles[1], matrixChart());
    const states = { min: 0.4, max: card.dim + 0.6 };
    for (const chart of [this.#shares, this.#matrix, ...this.#minis.map((mini) => mini.chart)])
      Object.assign(chart.options.scales.x, states);
    const count = card.members === 1 ? "The score is" : `The score is the weighted mean of ${card.members} members, each`;
    say(
      byId("chain-note"),
      `${count} the ${ordinal(card.eig_idx + 1)} of ${card.dim} eigenvalues of a tridiagonal matrix: a chain of ` +
        `${card.dim} latent states. The squared entries of its eigenvector add up to 100\u2009% and say how much each ` +
        "state takes part; contributions are the features’ matrices weighed by them.",
    );
  }

  show({ eigenvector }, { resting }) {
    this.#members = eigenvector;
    this.#draw(resting);
  }

  redraw() {
    if (this.#members.length) this.#draw(true);
  }

  #mini(member) {
    const frame = make("span", { class: "mini" });
    const text = make("span", { class: "number" });
    const on = {
      click: () => {
        this.#chosen = member;
        this.#fit = steadyRange();
        this.redraw();
      },
    };
    const button = make("button", { type: "button", class: "member", on }, make("span", { text: `${member + 1}` }), frame, text);
    const chart = makeChart(frame, "", barsOnly());
    chart.canvas.setAttribute("aria-hidden", "true");
    chart.canvas.removeAttribute("role");
    chart.canvas.removeAttribute("aria-label");
    return { button, chart, text };
  }

  #draw(resting) {
    const decimals = decimalsFor(...this.#members.map(({ eigenvalue }) => eigenvalue));
    this.#members.forEach(({ eigenvalue, eigenvector }, i) => {
      const { button, chart, text } = this.#minis[i];
      button.setAttribute("aria-pressed", String(i === this.#chosen));
      say(text, format(eigenvalue, decimals));
      fillShares(chart, eigenvector);
      chart.update("none");
    });
    const { diag, off_diag: offDiag, eigenvalue, eigenvector, weight } = this.#members[this.#chosen];
    say(
      this.#summary,
      `Member ${this.#chosen + 1}: eigenvalue ${format(eigenvalue, decimals)}, weight ${percent(weight)}, ` +
        `in units of the score (${scoreUnit(this.#card)}).`,
    );
    fillShares(this.#shares, eigenvector);
    this.#shares.update("none");
    const { data, options } = this.#matrix;
    data.datasets[0].data = diag.map((y, i) => ({ x: i + 1, y }));
    data.datasets[1].data = offDiag.map((y, i) => ({ x: i + 1.5, y }));
    data.datasets[2].data = [
      { x: 0.4, y: eigenvalue },
      { x: diag.length + 0.6, y: eigenvalue },
    ];
    const all = [...diag, ...offDiag, eigenvalue];
    const [min, max] = this.#fit(Math.min(...all), Math.max(...all), resting);
    Object.assign(options.scales.y, { min, max });
    this.#matrix.update("none");
    if (resting) this.#table.refresh();
  }

  #rows() {
    const { diag, off_diag: offDiag, eigenvector } = this.#members[this.#chosen];
    const decimals = decimalsFor(...diag, ...offDiag);
    const rows = diag.map((d, i) => [
      String(i + 1),
      format(eigenvector[i], 4),
      percent(eigenvector[i] ** 2),
      format(d, decimals),
      i < offDiag.length ? format(offDiag[i], decimals) : "",
    ]);
    return [["State", "v", "v²", "diag", "off_diag to the next"], ...rows];
  }
}

function fillShares(chart, eigenvector) {
  const [data] = chart.data.datasets;
  data.data = eigenvector.map((entry, i) => ({ x: i + 1, y: entry * Math.abs(entry) }));
  data.backgroundColor = eigenvector.map((entry) => colour(entry >= 0 ? "plus" : "minus"));
}

function barsOnly() {
  return {
    type: "bar",
    data: { datasets: [{ data: [], barThickness: 3 }] },
    options: {
      events: [],
      scales: {
        x: { type: "linear", display: false, offset: false, grace: 0 },
        y: { display: false, suggestedMin: -0.3, suggestedMax: 0.3 },
      },
    },
  };
}

function shareChart() {
  return {
    type: "bar",
    data: { datasets: [{ data: [], barPercentage: 0.9, categoryPercentage: 0.9, borderRadius: 2, minBarLength: 1 }] },
    options: {
      scales: {
        x: stateAxis(),
        y: quietAxis({
          suggestedMin: -0.1,
          suggestedMax: 0.2,
          afterFit: (axis) => (axis.width = Y_WIDTH),
          ticks: { maxTicksLimit: 4, callback: (y) => shortPercent(Math.abs(y)) },
        }),
      },
      plugins: {
        tooltip: {
          callbacks: {
            title: ([item]) => `State ${item.raw.x}`,
            label: ({ raw }) => `${percent(Math.abs(raw.y))}, v ${raw.y < 0 ? "negative" : "positive"}`,
          },
        },
      },
    },
  };
}

/** Width of the vertical axes, so that the states of both charts stand below each other. */
const Y_WIDTH = 52;

function matrixChart() {
  const points = { showLine: true, borderWidth: 1 };
  const of = (name, rest) => ({ data: [], borderColor: () => colour(name), backgroundColor: () => colour(name), ...rest });
  return {
    type: "scatter",
    data: {
      datasets: [
        of("ink", { ...points, label: "diag", pointRadius: 3.5 }),
        of("accent", { ...points, label: "off_diag", pointRadius: 3, pointStyle: "rectRot", borderDash: [2, 3] }),
        of("plus", { label: "eigenvalue", showLine: true, pointRadius: 0, borderWidth: 1.25 }),
      ],
    },
    options: {
      scales: { x: stateAxis(), y: quietAxis({ afterFit: (axis) => (axis.width = Y_WIDTH), ticks: { includeBounds: false } }) },
      plugins: {
        tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label} at ${raw.x}: ${format(raw.y)}` } },
      },
    },
  };
}

function stateAxis() {
  return quietAxis({
    offset: false,
    grid: { display: false },
    afterBuildTicks: (axis) => {
      const count = Math.floor(axis.max);
      axis.ticks = Array.from({ length: count }, (_, i) => ({ value: i + 1 }));
    },
    ticks: { maxTicksLimit: 16, callback: (value) => String(value) },
  });
}

function ordinal(number) {
  const tens = number % 100;
  const ending = tens > 10 && tens < 14 ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${number}${ending}`;
}
