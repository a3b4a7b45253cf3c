// The prediction: its number or class, the interval around it, and the probabilities of all classes.

import { byId, make, named, say } from "../dom.js";
import { format, percent } from "../charts/numbers.js";
import { className, explainedClass, intervalLevels, intervalWidth, numberText } from "../client/outcome.js";

const USUAL_LEVEL = 0.9;

export class PredictionPanel {
  #card = null;
  #level = null;
  #last = null;
  #rows = new Map();
  #pickClass;

  /** `pickClass(label)` is called when the reader chooses the class to explain. */
  constructor(pickClass) {
    this.#pickClass = pickClass;
  }

  /** Take another model. */
  build(card) {
    this.#card = card;
    say(byId("result-title"), card.target);
    byId("result").dataset.task = card.task;
    this.#buildInterval(intervalLevels(card));
    this.#buildClasses();
  }

  show(explanation, target) {
    const { prediction } = explanation;
    this.#last = prediction;
    const classes = this.#card.classes.length > 0;
    say(byId("prediction"), classes ? className(this.#card, prediction.label) : numberText(this.#card, prediction));
    this.#showInterval();
    const warnings = explanation.warnings.map(({ feature, message }) => (feature ? `${feature} ${message}` : message));
    byId("warnings").hidden = warnings.length === 0;
    say(byId("warnings"), warnings.length ? `Beware: ${warnings.join("; ")}.` : "");
    if (!classes) return;
    say(byId("aside"), `with probability ${percent(prediction.probabilities[String(prediction.label)])}`);
    const explained = explainedClass(this.#card, target, prediction);
    for (const [key, { row, bar, text }] of this.#rows) {
      const share = prediction.probabilities[key];
      say(text, percent(share));
      bar.style.setProperty("--share", `${100 * share}%`);
      row.setAttribute("aria-pressed", String(key === String(explained)));
    }
  }

  /** The prediction in one sentence, for those who listen. */
  spoken() {
    if (this.#last === null) return "";
    const { target } = this.#card;
    if (!this.#card.classes.length) return `${target}: ${numberText(this.#card, this.#last)}.`;
    return `${target}: ${this.#last.label}, ${percent(this.#last.probabilities[String(this.#last.label)])}.`;
  }

  /** Nothing here is drawn in colours that a style sheet does not set. */
  redraw() {}

  #buildInterval(levels) {
    const aside = byId("aside");
    aside.replaceChildren();
    this.#level = null;
    if (!levels.length) return;
    this.#level = levels.find(({ level }) => level === USUAL_LEVEL) ?? levels[levels.length - 1];
    const choose = make("select", { id: "level", "aria-label": "Level of the interval" });
    for (const known of levels) {
      const percentage = `${format(100 * known.level, known.level * 100 % 1 ? 1 : 0)}\u2009%`;
      choose.append(make("option", { value: String(known.level), text: percentage, selected: known === this.#level }));
    }
    choose.addEventListener("change", () => {
      this.#level = levels.find(({ level }) => String(level) === choose.value);
      this.#showInterval();
    });
    const range = make("span", { id: "interval", class: "number" });
    aside.append(choose, " of such rows lie within ", range);
  }

  #showInterval() {
    if (this.#level === null || this.#last === null) return;
    const radius = this.#level.radius * intervalWidth(this.#card, this.#last);
    const [low, high] = [this.#last - radius, this.#last + radius].map((end) => numberText(this.#card, end));
    say(byId("interval"), `${low} \u2013 ${high}`);
  }

  #buildClasses() {
    this.#rows = new Map(
      this.#card.classes.map((label) => {
        const bar = make("span", { class: "share", "aria-hidden": "true" });
        const text = make("span", { class: "number" });
        const name = make("span", { class: "class-name" }, ...named(String(label)));
        const on = { click: () => this.#pickClass(label) };
        const row = make("button", { type: "button", class: "class", title: `Explain ${label}`, on }, name, bar, text);
        return [String(label), { row, bar, text }];
      }),
    );
    byId("classes").replaceChildren(...[...this.#rows.values()].map(({ row }) => row));
  }
}
