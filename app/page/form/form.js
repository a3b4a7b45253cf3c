// The form: one field for each feature of the model, made from its schema.

import { makeField } from "./fields.js";
import { dayText, hasTime } from "../charts/dates.js";

/** A form of a model's features in `holder`; `changed(name, value, resting)` reports what the reader does. */
export class RowForm {
  #holder;
  #changed;
  #fields = new Map();

  constructor(holder, changed) {
    this.#holder = holder;
    this.#changed = changed;
  }

  /** Take the fields of other features. */
  build(features) {
    const made = features.map((feature, i) => {
      const report = (value, resting) => this.#changed(feature.name, value, resting);
      return [feature.name, makeField(feature, `field-${i}`, report)];
    });
    this.#fields = new Map(made);
    this.#holder.replaceChildren(...made.map(([, field]) => field.element));
  }

  /** Show a row's values; not in `except`, the field the reader is in. */
  show(row, except = null) {
    for (const [name, field] of this.#fields) if (name !== except) field.show(row[name]);
  }

  /** What each feature gives, next to its field: a text with its sign by name. */
  note(texts) {
    for (const [name, field] of this.#fields) field.note(texts[name]);
  }
}

/** The row to begin with: the training row that the model keeps as its example; else typical values. */
export function firstRow({ features, card }) {
  const example = card.example ?? {};
  return Object.fromEntries(Object.entries(typicalRow(features)).map(([name, value]) => [name, name in example ? example[name] : value]));
}

/** The row of every feature's typical value. */
export function typicalRow(features) {
  return Object.fromEntries(features.map((feature) => [feature.name, typicalValue(feature)]));
}

function typicalValue(feature) {
  if (feature.kind === "boolean") return typeof feature.typical === "number" ? feature.typical >= 0.5 : feature.typical;
  if (feature.kind === "datetime") return dayText(feature.typical, hasTime(feature));
  return feature.typical;
}
