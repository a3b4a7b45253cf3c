// Fields: a number as slider and number, a category as a list, a boolean as a pair of choices, a date.

import { dayText, hasTime, textDays } from "../charts/dates.js";
import { make, named, say } from "../dom.js";
import { format } from "../charts/numbers.js";
import { POSITIONS, trackScale } from "../charts/scale.js";

const MISSING = "\u0000missing";

/** {element, show(value), note(text)}; `report(value, resting)` is called with what the reader enters. */
export function makeField(feature, id, report) {
  const makers = { numeric: numberField, datetime: dateField, boolean: booleanField, categorical: categoryField };
  const { controls, track = null, show } = makers[feature.kind](feature, id, report);
  const remark = make("span", { class: "field-note", "aria-hidden": "true" });
  const name = make("label", { for: id, id: `${id}-label` }, ...named(feature.name));
  const shape = track === null ? "field" : "field tracked";
  const element = make("div", { class: shape }, name, make("div", { class: "controls" }, ...controls), track, remark);
  element.dataset.feature = feature.name;
  return {
    element,
    show,
    note: (note) => {
      say(remark, note?.text ?? "");
      remark.dataset.sign = note?.sign ?? "";
    },
  };
}

/** A button for a missing value, where the model treats that separately. */
function missingButton(feature, id, choose, back) {
  if (!feature.missing) return null;
  const button = make("button", { type: "button", class: "missing", text: "missing", "aria-describedby": `${id}-label` });
  button.addEventListener("click", () => choose(button.getAttribute("aria-pressed") === "true" ? back() : null));
  return button;
}

function numberField(feature, id, report) {
  const scale = trackScale(feature);
  return tracked(feature, id, report, {
    scale,
    field: make("input", { type: "number", id, step: 10 ** -scale.decimals, inputmode: "decimal" }),
    read: (field) => (Number.isFinite(field.valueAsNumber) ? field.valueAsNumber : null),
    write: (value) => (value === null ? "" : String(value)),
    toNumber: (value) => value,
    fromNumber: (number) => number,
    spoken: (value) => format(value, scale.decimals),
  });
}

function dateField(feature, id, report) {
  const withTime = hasTime(feature);
  return tracked(feature, id, report, {
    scale: trackScale(feature),
    field: make("input", { type: withTime ? "datetime-local" : "date", id }),
    read: (field) => field.value || null,
    write: (value) => (value === null ? "" : dayText(textDays(value), withTime)),
    toNumber: textDays,
    fromNumber: (days) => dayText(days, withTime),
    spoken: (value) => value,
  });
}

/** A field with a slider below it. */
function tracked(feature, id, report, { scale, field, read, write, toNumber, fromNumber, spoken }) {
  const slider = make("input", {
    type: "range",
    min: 0,
    max: POSITIONS,
    step: 1,
    "aria-labelledby": `${id}-label`,
    "data-slider": feature.name,
  });
  let last = fromNumber(scale.value(0.5));
  const missing = missingButton(feature, id, (value) => {
    show(value);
    report(value, true);
  }, () => last);
  const mark = (value) => {
    const gone = value === null;
    const number = gone ? NaN : toNumber(value);
    if (!gone) last = value;
    missing?.setAttribute("aria-pressed", String(gone));
    const outside = !gone && (number < feature.low || number > feature.high);
    field.classList.toggle("outside", outside);
    field.title = outside ? `Outside the training range: ${spoken(fromNumber(feature.low))} to ${spoken(fromNumber(feature.high))}` : "";
    slider.classList.toggle("empty", gone);
    slider.setAttribute("aria-valuetext", gone ? "missing" : spoken(value));
    const position = gone ? Number(slider.value) : Math.round(POSITIONS * scale.position(number));
    slider.style.setProperty("--at", gone ? "0%" : `${(100 * position) / POSITIONS}%`);
    return position;
  };
  const show = (value) => {
    field.value = write(value);
    slider.value = mark(value);
  };
  const changed = (value, resting) => {
    mark(value);
    report(value, resting);
  };
  const fromSlider = (resting) => {
    const value = fromNumber(scale.value(Number(slider.value) / POSITIONS));
    field.value = write(value);
    changed(value, resting);
  };
  slider.addEventListener("input", () => fromSlider(false));
  slider.addEventListener("change", () => fromSlider(true));
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (step === undefined) return;
    // On to the next position whose value is another one: whole numbers share many positions.
    event.preventDefault();
    const from = scale.value(Number(slider.value) / POSITIONS);
    let at = Number(slider.value);
    while (at + step >= 0 && at + step <= POSITIONS && scale.value(at / POSITIONS) === from) at += step;
    slider.value = at;
    fromSlider(true);
  });
  const fromField = (resting) => {
    // A number that is only begun, such as a minus, is none yet.
    if (field.validity.badInput) return;
    const value = read(field);
    slider.value = mark(value);
    changed(value, resting);
  };
  field.addEventListener("input", () => fromField(false));
  field.addEventListener("change", () => fromField(true));
  field.placeholder = feature.missing ? "missing" : "typical";
  return { controls: [field, missing], track: slider, show };
}

function categoryField(feature, id, report) {
  const options = feature.categories.map((category) => make("option", { value: category, text: category }));
  if (feature.missing) options.push(make("option", { value: MISSING, text: "missing" }));
  const unseen = make("option", { value: "", text: "" });
  const field = make("select", { id }, ...options);
  field.addEventListener("change", () => report(field.value === MISSING ? null : field.value, true));
  return {
    controls: [field],
    show: (value) => {
      const wanted = value === null && feature.missing ? MISSING : String(value ?? "");
      const known = wanted === MISSING || feature.categories.includes(wanted);
      if (!known) {
        unseen.value = wanted;
        unseen.text = wanted === "" ? "unknown" : `${wanted} (not seen in training)`;
        field.append(unseen);
      } else unseen.remove();
      field.value = wanted;
    },
  };
}

function booleanField(feature, id, report) {
  const field = make("select", { id }, ...["true", "false"].map((text) => make("option", { value: text, text })));
  if (feature.missing) field.append(make("option", { value: MISSING, text: "missing" }));
  field.addEventListener("change", () => report(field.value === MISSING ? null : field.value === "true", true));
  return {
    controls: [field],
    show: (value) => {
      field.value = value === null ? MISSING : String(value);
    },
  };
}
