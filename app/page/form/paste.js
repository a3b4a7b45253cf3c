// Pasting: a row of CSV into the form.

import { readRow } from "./csv.js";
import { byId, say } from "../dom.js";

/** Set up the box for CSV; `features()` gives those of the model, `take(row)` takes what was read. */
export function setUpPaste(features, take) {
  const opener = byId("paste-open");
  const box = byId("paste");
  const text = byId("csv");
  const status = byId("csv-status");
  const use = () => {
    try {
      const { row, summary } = readRow(text.value, features());
      take(row);
      say(status, summary);
    } catch (error) {
      say(status, error.message);
    }
  };
  opener.addEventListener("click", () => {
    box.hidden = !box.hidden;
    opener.setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) text.focus();
  });
  byId("csv-use").addEventListener("click", use);
  // The text is in the box only after the event.
  text.addEventListener("paste", () => setTimeout(use));
}
