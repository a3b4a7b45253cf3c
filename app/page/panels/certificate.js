// The certificate: what is proved of all rows near this one, and whether the explanation may be leaned on.

import { dataTable, makeChart, quietAxis, steadyRange } from "../charts/charts.js";
import { byId, make, say } from "../dom.js";
import { decimalsFor, format, percent, plain, short, shortPercent, stepOf } from "../charts/numbers.js";
import { fromScore, numberText, scoreUnit } from "../client/outcome.js";
import { askParts } from "../client/questions.js";
import { colour } from "../charts/theme.js";

/** Sizes of the change, as multiples of the radii that the server takes of itself. */
const SIZES = [0.1, 0.2, 0.5, 1, 2, 5];
const AXIS = 22;
/** From this share on the order of reasons counts as steady. */
const STEADY = 0.9;
/** Standard deviations within which a proof is worth more than the sample: all that was sampled. */
const PROVED = 0.1;

export class CertificatePanel {
  #card = null;
  #chart = null;
  #fit = steadyRange();
  #size = 1;
  #last = null;
  #asked;
  #said = make("p", { class: "lead" });
  #decision = make("p", { class: "note" });
  #table = dataTable("The certified change of each feature", () => this.#rows());

  /** `asked()` is called when another size of the change is wanted. */
  constructor(asked) {
    this.#asked = asked;
  }

  build(card) {
    this.#card = card;
    this.#last = null;
    this.#fit = steadyRange();
    this.#chart?.destroy();
    const frame = make("div", { class: "certificate-frame" });
    byId("certificate").replaceChildren(this.#sizes(), this.#said, frame, this.#decision, this.#table.element);
    this.#chart = makeChart(frame, "The certified interval around the prediction", intervalChart(card));
  }

  /** The radii to certify: none, for those of the server, or multiples of what it takes for this very row. */
  async radii(question, signal) {
    const size = this.#size;
    if (size === 1) return null;
    const { certificate } = await askParts(question, ["certificate"], signal);
    return Object.fromEntries(Object.entries(certificate.radii).map(([name, radius]) => [name, radius * size]));
  }

  show({ certificate, score }, { resting }) {
    this.#last = { certificate, score };
    this.#draw(resting);
  }

  redraw() {
    if (this.#last !== null) this.#draw(true);
  }

  #sizes() {
    const fieldset = make("fieldset", { class: "switch sizes" }, make("legend", { text: "Size of the change" }));
    for (const size of SIZES) {
      const choose = () => {
        this.#size = size;
        this.#asked();
      };
      const checked = size === this.#size;
      const input = make("input", { type: "radio", name: "size", value: String(size), checked, on: { change: choose } });
      fieldset.append(make("label", {}, input, make("span", { text: `${plain(size / 10)} sd` })));
    }
    return fieldset;
  }

  #draw(resting) {
    const { certificate, score } = this.#last;
    const card = this.#card;
    const shown = (value) => fromScore(card, value) ?? value;
    const text = (value) => (card.link === "softmax" ? format(value, decimalsFor(certificate.high - certificate.low)) : numberText(card, shown(value)));
    const [low, high] = [certificate.low, certificate.high].map(shown);
    const what = card.link === "softmax" ? "the score of the class" : card.classes.length ? "the probability" : card.target;
    // Twenty times the usual error, or nearly all of 0 to 1, bounds nothing that anybody doubted.
    const error = card.metrics?.test?.rmse ?? card.metrics?.out_of_fold?.rmse;
    const wide = card.link === "softmax" ? false : card.classes.length ? high - low > 0.9 : error > 0 && high - low > 20 * error;
    say(
      this.#said,
      wide ? "At this size of the change nothing useful is proved: choose a smaller one." :
      `While every number moves by at most its radius, all at once, ${what} is proved to stay between ` +
        `${text(certificate.low)} and ${text(certificate.high)}.`,
    );
    this.#decide(certificate.decision_radius, Object.keys(certificate.radii).length);
    const { data, options } = this.#chart;
    data.datasets[0].data = [[low, high]];
    data.datasets[1].data = [{ x: shown(score), y: 0 }];
    const [min, max] = this.#fit(low, high, resting);
    Object.assign(options.scales.x, { min, max });
    this.#chart.update("none");
    if (resting) this.#table.refresh();
  }

  #decide(radius, numbers) {
    const proved = "The predicted class is proved not to change while every number moves by less than";
    if (!this.#card.classes.length) say(this.#decision, "");
    else if (numbers === 0) say(this.#decision, "This row has no number that could move.");
    // The server looks no further than 2^20.
    else if (radius === null) say(this.#decision, `${proved} a million standard deviations: no limit was found.`);
    else say(this.#decision, `${proved} ${format(radius)} standard deviations.`);
  }

  /** Say how steady the reasons are; null until that is known: what was known is of another row, or method. */
  flag(stability) {
    const flag = byId("flag");
    flag.style.visibility = stability === null ? "hidden" : "visible";
    if (stability === null) return;
    flag.hidden = false;
    const { leading, order_proved: proved, order_sampled: sampled, order_holds: holds, moves, samples, gap } = stability;
    byId("stability-part").hidden = false;
    flag.dataset.trusted = String(holds >= STEADY);
    const share = percent(holds);
    const order = holds >= STEADY ? `Order of reasons holds in ${share}` : `Order of reasons holds in only ${share}`;
    // proved is null for methods without a proof.
    say(flag, proved >= PROVED ? "Order of reasons proved" : order);
    const within = proved === null ? "nothing is proved of this method" : `proved within ${format(proved)}`;
    flag.title = `Sampled within a tenth of a standard deviation; ${within}`;
    const largest = `the largest contributions are still ${leading.join(", ")}, in this order and with these signs`;
    const said = [
      proved > 0
        ? `Proved: while every number moves by less than ${format(proved)} of its standard deviation, ${largest}.`
        : "Nothing is proved of the order of the largest contributions.",
      `Sampled, not proved: ${proved > 0 ? "this holds" : largest} in ${share} of ${samples} rows with every number moved by up to a tenth ` +
        `of its standard deviation${holds < 1 && sampled > 0 ? `, and in all of them when moved by up to ${format(sampled)}` : ""}.`,
      `A contribution moves by up to ${percent(moves)} of the largest one.`,
      gap === null ? "" : `The nearest other eigenvalue is ${format(gap)} away, in ${scoreUnit(this.#card)}.`,
    ];
    say(byId("stability"), said.filter(Boolean).join(" "));
  }

  #rows() {
    const { radii } = this.#last.certificate;
    const rows = Object.entries(radii).map(([name, radius]) => [name, `\u00b1\u2009${format(radius)}`]);
    return [["Feature", "Radius"], ...rows];
  }
}

function intervalChart(card) {
  return {
    type: "bar",
    data: {
      labels: [""],
      datasets: [
        { order: 1, data: [], backgroundColor: () => colour("band"), barThickness: 10, borderRadius: 5, borderSkipped: false },
        {
          type: "scatter",
          order: 0,
          data: [],
          pointRadius: 7,
          borderWidth: 2,
          pointBackgroundColor: () => colour("ink"),
          pointBorderColor: () => colour("paper"),
        },
      ],
    },
    options: {
      indexAxis: "y",
      events: [],
      layout: { padding: { left: 8, right: 8 } },
      scales: {
        y: { type: "category", display: false, offset: true },
        x: quietAxis({
          afterFit: (axis) => (axis.height = AXIS),
          ticks: {
            maxTicksLimit: 6,
            includeBounds: false,
            callback: (x, _, all) => (card.link === "logistic" ? shortPercent(x, stepOf(all)) : short(x, stepOf(all))),
          },
        }),
      },
    },
  };
}
