// Counterfactuals: the smallest changes of a few features that reach a wanted outcome.

import { post } from "../client/client.js";
import { byId, make, named } from "../dom.js";
import { format, percent, plain } from "../charts/numbers.js";
import { numberText, predictedNumber } from "../client/outcome.js";
import { rowBody } from "../client/questions.js";

/** A wish to begin with: so much more than is predicted. */
const STEP = 1.1;
/** As many features may change as the server lets change by itself. */
const MOST = "2";

export class CounterfactualPanel {
  #card = null;
  #question = null;
  #asked = false;
  #wish = null;
  #most = null;
  #fixed = new Set();
  #found = make("div", { class: "found", "aria-live": "polite" });
  #apply;
  #lane;

  /** `apply(changes)` puts changes into the row; `lane(send)` makes a lane for the questions. */
  constructor(apply, lane) {
    this.#apply = apply;
    this.#lane = lane((question, signal) => this.#send(question, signal));
  }

  build(card) {
    this.#card = card;
    this.#asked = false;
    this.#fixed.clear();
    this.#lane.drop();
    this.#wish = card.classes.length ? classWish(card) : numberWish(card);
    const most = make("select", { id: "most" }, ...["1", "2", "3", "4"].map((text) => make("option", { value: text, text, selected: text === MOST })));
    const find = make("button", { type: "submit", class: "main", text: "Find" });
    const features = make("label", { for: "most", text: "features" });
    const on = { submit: (event) => this.#find(event) };
    const form = make(
      "form",
      { class: "wish", on, autocomplete: "off", novalidate: true },
      make("span", {}, "To reach ", ...this.#wish.controls),
      make("span", {}, "by changing at most ", most, " ", features),
      find,
      this.#locks(),
    );
    this.#found.replaceChildren();
    byId("counterfactuals").replaceChildren(form, this.#found);
    this.#most = () => Number(most.value);
    form.addEventListener("input", () => (this.#wish.touched = true));
  }

  /** Follow the row; what was found is asked for again once the row rests. */
  follow(question, prediction) {
    this.#question = question;
    if (question.resting && !this.#asked && !this.#wish.touched) this.#wish.suggest(prediction);
    if (this.#asked && question.resting) this.#ask();
  }

  /** Nothing here is drawn. */
  redraw() {}

  #locks() {
    const boxes = this.#card.features.map(({ name }) => {
      const on = { change: (event) => (event.target.checked ? this.#fixed.add(name) : this.#fixed.delete(name)) };
      return make("label", { class: "check" }, make("input", { type: "checkbox", on }), ...named(name));
    });
    const legend = make("legend", { class: "unseen", text: "Features that may not change" });
    return make(
      "details",
      { class: "locks" },
      make("summary", { text: "Features that may not change" }),
      make("fieldset", { class: "boxes" }, legend, ...boxes),
    );
  }

  #find(event) {
    event.preventDefault();
    this.#asked = true;
    this.#ask();
  }

  #ask() {
    const wanted = this.#wish.wanted();
    if (wanted === null) {
      this.#say("Enter a number to reach.");
      return;
    }
    const { target, ...body } = rowBody(this.#question);
    this.#lane.want({ ...body, wanted, fixed: [...this.#fixed], max_features: this.#most() });
  }

  async #send(body, signal) {
    try {
      const { counterfactuals } = await post("counterfactuals", body, signal);
      this.#show(counterfactuals[0]);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      this.#say(error.message);
    }
  }

  #say(text) {
    this.#found.replaceChildren(make("p", { class: "note", text }));
  }

  #show(found) {
    if (found.some(({ changes }) => !Object.keys(changes).length)) {
      this.#say("This row reaches it already.");
      return;
    }
    if (!found.length) {
      this.#say("No such change was found within the training ranges. Let more features change, or choose a nearer goal.");
      return;
    }
    this.#found.replaceChildren(make("ol", { class: "ways" }, ...found.map((way) => this.#way(way))));
  }

  #way({ changes, prediction, distance, plausibility }) {
    const parts = Object.entries(changes).map(([name, { from, to }]) =>
      make("span", { class: "change" }, ...named(name), make("span", { class: "value", text: valueText(from) }), " \u2192 ", make("b", { text: valueText(to) })),
    );
    const outcome =
      typeof prediction === "object" && prediction !== null
        ? `${prediction.label}, ${numberText(this.#card, predictedNumber(prediction, prediction.label))}`
        : numberText(this.#card, prediction);
    const values = Object.fromEntries(Object.entries(changes).map(([name, { to }]) => [name, to]));
    const on = { click: () => this.#apply(values) };
    return make(
      "li",
      { class: "way" },
      make("span", { class: "changes" }, ...parts),
      make("span", { class: "number", text: outcome }),
      make("span", { class: "value", title: "Length of the change, in standard deviations", text: `distance ${format(distance, 2)}` }),
      plausibility === null ? null : make("span", { class: "value", title: "Share of the training rows that are at least as unusual", text: `plausibility ${percent(plausibility)}` }),
      make("button", { type: "button", text: "Apply", on }),
    );
  }
}

/** A wish for a number above or below another. */
function numberWish(card) {
  const side = make("select", { "aria-label": "Side" }, ...["above", "below"].map((text) => make("option", { value: text, text })));
  const field = make("input", { type: "number", step: "any", "aria-label": `Wanted ${card.target}` });
  return {
    controls: [`${card.target} `, side, " ", field],
    wanted: () => (Number.isFinite(field.valueAsNumber) ? { [side.value]: field.valueAsNumber } : null),
    touched: false,
    suggest: (number) => {
      if (number !== null) field.value = String(Number((number * (number > 0 ? STEP : 2 - STEP)).toPrecision(2)));
    },
  };
}

/** A wish for a class. */
function classWish(card) {
  const options = card.classes.map((label, i) => make("option", { value: String(i), text: String(label) }));
  // Of two classes the probability of the second may be wanted, too: a cutoff is seldom one half.
  const sides = card.classes.length === 2 ? ["above", "below"] : [];
  options.push(...sides.map((side) => make("option", { value: side, text: `probability of ${card.classes[1]} ${side}` })));
  const choose = make("select", { "aria-label": `Wanted ${card.target}` }, ...options);
  const cutoff = make("input", { type: "number", step: "any", value: "50", "aria-label": "Wanted probability in percent" });
  const share = make("span", { hidden: true }, cutoff, " %");
  choose.addEventListener("change", () => (share.hidden = !sides.includes(choose.value)));
  return {
    controls: [`${card.target} = `, choose, " ", share],
    wanted: () => {
      if (!sides.includes(choose.value)) return { class: card.classes[Number(choose.value)] };
      return Number.isFinite(cutoff.valueAsNumber) ? { [choose.value]: cutoff.valueAsNumber / 100 } : null;
    },
    touched: false,
    suggest: ({ label }) => {
      choose.value = String(Math.max(0, card.classes.findIndex((other) => other !== label)));
    },
  };
}

function valueText(value) {
  if (value === null) return "missing";
  return typeof value === "number" ? plain(value) : String(value);
}
