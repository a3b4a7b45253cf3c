// The decision at a cutoff: which side the row is on, the principal reasons, and one change that would reverse it.

import { post } from "../client/client.js";
import { numberText } from "../client/outcome.js";
import { rowBody } from "../client/questions.js";
import { byId, make, named } from "../dom.js";
import { percent, plain } from "../charts/numbers.js";

/** As many reasons as a letter usually gives. */
const MOST = 4;

export class DecisionPanel {
  #card = null;
  #question = null;
  #side = null;
  #field = null;
  #lane;
  #out = make("div", { class: "decision", "aria-live": "polite" });

  /** `lane(send)` makes a lane for the questions. */
  constructor(lane) {
    this.#lane = lane((body, signal) => this.#send(body, signal));
  }

  build(card) {
    this.#card = card;
    this.#question = null;
    this.#lane.drop();
    byId("decision-section").hidden = card.classes.length > 2;
    const classes = card.classes.length > 0;
    const on = { change: () => this.#ask() };
    const sides = ["above", "below"].map((text) => make("option", { value: text, text }));
    this.#side = make("select", { id: "adverse", "aria-label": "Adverse side", on }, ...sides);
    const value = classes ? "50" : "";
    this.#field = make("input", { id: "cutoff", type: "number", step: "any", value, "aria-label": "Cutoff", on });
    const what = classes ? `the probability of ${card.classes[1]} is ` : `${card.target} is `;
    const submit = { submit: (event) => event.preventDefault() };
    byId("decision").replaceChildren(
      make("form", { class: "wish", novalidate: true, on: submit }, make("span", {}, "Adverse where ", what, this.#side, " ", this.#field, classes ? " %" : "")),
      this.#out,
    );
    this.#say(classes ? "" : "Enter a cutoff to see the decision and its reasons.");
  }

  /** Follow the row, once it rests. */
  follow(question) {
    this.#question = question;
    if (question.resting) this.#ask();
  }

  /** Nothing here is drawn. */
  redraw() {}

  #ask() {
    const number = this.#field.valueAsNumber;
    if (this.#question === null || !Number.isFinite(number) || this.#card.classes.length > 2) return;
    const { target, ...body } = rowBody(this.#question);
    const cutoff = this.#card.classes.length ? number / 100 : number;
    this.#lane.want({ ...body, cutoff, adverse: this.#side.value, n: MOST });
  }

  async #send(body, signal) {
    try {
      const { reasons } = await post("reasons", body, signal);
      this.#show(reasons[0], body);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      this.#say(error.message);
    }
  }

  #say(text) {
    this.#out.replaceChildren(make("p", { class: "note", text }));
  }

  #show({ adverse, prediction, reasons, change }, { cutoff, adverse: side }) {
    const number = (value) => numberText(this.#card, value);
    const at = `${number(prediction)}, ${adverse ? "" : "not "}${side} the cutoff of ${number(cutoff)}`;
    const parts = [make("p", { class: "lead", text: adverse ? `Adverse: ${at}.` : `Not adverse: ${at}.` })];
    if (adverse && !reasons.length) parts.push(make("p", { class: "note", text: "No feature moves the score to this side: the average is on it, too." }));
    const items = reasons.map(({ text, value, share, rank_holds: holds }) => {
      const title = `among the reasons in ${percent(holds)} of rows nearby, sampled`;
      const shown = value === null || typeof value !== "object" ? valueText(value) : Object.values(value).map(valueText).join(", ");
      return make("li", { class: "reason", title }, make("b", {}, ...named(text)), ` (${shown}) `, make("span", { class: "value", text: shareText(share) }));
    });
    if (items.length) parts.push(make("ol", { class: "reasons" }, ...items));
    if (change !== null) {
      const steps = Object.entries(change.changes).map(([name, { from, to }]) => `${name} ${valueText(from)} \u2192 ${valueText(to)}`);
      parts.push(make("p", { class: "note", id: "reversal", text: `The smallest change found that reverses it: ${steps.join(", ")}.` }));
    }
    this.#out.replaceChildren(...parts);
  }
}

const valueText = (value) => (value === null ? "missing" : typeof value === "number" ? plain(value) : String(value));

/** A reason's share of the distance to the cutoff; beyond ten times it says nothing more. */
const shareText = (share) => (share === null || share > 10 ? "more than ten times the distance to the cutoff" : `${percent(share)} of the distance to the cutoff`);
