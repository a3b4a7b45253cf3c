// Axes of response curves: places on the track of a number or date, or one place for each choice.

import { quietAxis } from "./charts.js";
import { dayText, hasTime, textDays } from "./dates.js";
import { plain, shortRound } from "./numbers.js";
import { trackScale } from "./scale.js";

/** The axis of a number or date: places on the track of its slider. */
export function trackAxis(feature) {
  const scale = trackScale(feature);
  const dated = feature.kind === "datetime";
  const ticks = scale.ticks().map((number) => ({ value: scale.position(number), number }));
  return {
    choices: false,
    min: 0,
    max: 1,
    position: scale.position,
    at: scale.value,
    number: (value) => (dated && typeof value === "string" ? textDays(value) : value),
    raw: (number) => (dated ? dayText(number, hasTime(feature)) : number),
    text: (value) => (value === null ? "missing" : dated ? value : plain(value)),
    options: quietAxis({
      grid: { display: false },
      afterBuildTicks: (axis) => (axis.ticks = ticks.map((tick) => ({ ...tick }))),
      ticks: {
        maxTicksLimit: 7,
        callback: (_, i, all) => (dated ? dayText(all[i].number, false) : shortRound(all[i].number)),
      },
    }),
  };
}

/** The axis of a category or boolean: one place for each. */
export function choiceAxis(feature) {
  const choices = feature.kind === "boolean" ? [false, true] : feature.categories;
  const place = (value) => choices.findIndex((choice) => String(choice) === String(value));
  const clamp = (at) => Math.min(choices.length - 1, Math.max(0, Math.round(at)));
  return {
    choices: true,
    min: -0.5,
    max: choices.length - 0.5,
    position: (at) => (typeof at === "number" ? at : place(at)),
    at: clamp,
    number: place,
    raw: (at) => (typeof at === "number" ? choices[at] : at),
    text: (value) => (value === null ? "missing" : String(value)),
    options: quietAxis({
      grid: { display: false },
      afterBuildTicks: (axis) => (axis.ticks = choices.map((_, value) => ({ value }))),
      ticks: { autoSkip: true, maxTicksLimit: 6, callback: (at) => abridged(String(choices[at] ?? "")) },
    }),
  };
}

const abridged = (text) => (text.length > 9 ? `${text.slice(0, 8)}\u2026` : text);
