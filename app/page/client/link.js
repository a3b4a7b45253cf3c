// The link: what the page shows, in the part of its address that stays in the browser.

import { readCell } from "../form/cells.js";
import { USUAL_METHOD } from "./questions.js";

const VALUE = "x.";

/** The fragment of a state. */
export function writeLink({ card, method, target, row }) {
  const parts = new URLSearchParams({ model: card.name, version: card.version });
  if (method !== USUAL_METHOD) parts.set("method", method);
  if (target !== null) parts.set("target", String(target));
  for (const [name, value] of Object.entries(row)) parts.set(VALUE + name, value === null ? "" : String(value));
  return `#${parts}`;
}

/** What a fragment asks for; values are texts until the model's features are known. */
export function readLink(fragment) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const texts = {};
  for (const [name, value] of parts) if (name.startsWith(VALUE)) texts[name.slice(VALUE.length)] = value;
  const take = (name) => parts.get(name);
  return { model: take("model"), version: take("version"), method: take("method"), target: take("target"), texts };
}

/** Texts of a link -> values; what the features do not know or cannot read is left out. */
export function linkedRow(texts, features) {
  const row = {};
  for (const feature of features) {
    if (!(feature.name in texts)) continue;
    try {
      row[feature.name] = readCell(texts[feature.name], { ...feature, reading: undefined });
    } catch {
      // A link is typed or cut by people: a value that is none leaves the typical one.
    }
  }
  return row;
}
