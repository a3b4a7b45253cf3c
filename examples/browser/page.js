// The page: a form made of the model's features, and what the model says of the row in it.

import { SpectralModel } from "./spectral-model.js";

const $ = (selector) => document.querySelector(selector);
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
const signed = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, signDisplay: "exceptZero" });

function control(feature) {
  const label = document.createElement("label");
  label.append(feature.name || "(no name)");
  const choices = { categorical: feature.categories, boolean: ["1", "0"] }[feature.kind];
  const input = document.createElement(choices ? "select" : "input");
  if (choices) {
    input.append(new Option("missing", ""));
    for (const choice of choices) {
      const shown = feature.kind === "boolean" ? { 1: "true", 0: "false" }[choice] : choice;
      input.append(new Option(shown, choice));
    }
  } else if (feature.kind === "datetime") {
    input.type = "datetime-local";
  } else {
    input.type = "number";
    input.step = "any";
    input.placeholder = "missing";
    input.title = `${number.format(feature.low)} to ${number.format(feature.high)} in training`;
  }
  input.name = feature.name;
  if (typeof feature.typical === "boolean") input.value = Number(feature.typical);
  else if (feature.kind === "datetime") input.value = new Date(feature.typical * 86_400_000).toISOString().slice(0, 16);
  else input.value = feature.typical ?? "";
  label.append(input);
  return label;
}

function show(model, found) {
  const classes = model.classes;
  const expected = classes.length ? found.label[0] : number.format(found.prediction[0]);
  $("#prediction").textContent = `${model.target}: ${expected}`;
  $("#probabilities").replaceChildren(
    ...classes.map((name, i) => {
      const item = document.createElement("li");
      item.textContent = `${name}: ${(100 * found.probabilities[i]).toFixed(1)} %`;
      return item;
    }),
  );
  if (!found.contributions) {
    $("#sum").textContent = "This file was exported without --explain.";
    return;
  }
  const explained = classes.length === 2 ? ` of ${classes[1]}` : classes.length ? ` of ${found.label[0]}` : "";
  $("#sum").textContent =
    `Score${explained}: ${number.format(found.score[0])} = baseline ${number.format(found.baseline[0])} + the sum of these:`;
  const largest = Math.max(...found.contributions.map(Math.abs), Number.MIN_VALUE);
  const rows = model.terms.map((term, i) => ({ term, value: found.contributions[i] }));
  rows.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  $("#contributions tbody").replaceChildren(
    ...rows.map(({ term, value }) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = term;
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = signed.format(value);
      const bar = document.createElement("td");
      bar.className = "bar";
      const length = document.createElement("i");
      length.className = value < 0 ? "down" : "up";
      length.style.width = `${(100 * Math.abs(value)) / largest}%`;
      bar.append(length);
      row.append(name, cell, bar);
      return row;
    }),
  );
  const slopes = model.numeric
    .map((name, i) => [name, found.sensitivities[i]])
    .filter(([, slope]) => Number.isFinite(slope) && slope !== 0)
    .map(([name, slope]) => `${name} ${signed.format(slope)}`);
  const parts = slopes.length ? [`Per unit more the score changes by: ${slopes.join(", ")}.`] : [];
  $("#facts").textContent = [...parts, `Gap to the nearest eigenvalue: ${number.format(found.gap[0])}.`].join(" ");
}

async function main() {
  const url = new URLSearchParams(location.search).get("model") ?? "model.onnx";
  const started = performance.now();
  const model = await SpectralModel.load(url);
  const form = $("#row");
  form.append(...model.features.map(control));
  let latest = 0;
  const update = async () => {
    const turn = ++latest;
    document.body.dataset.asked = turn;
    const found = await model.predict(Object.fromEntries(new FormData(form)));
    if (turn !== latest) return; // a later row has been asked for meanwhile
    show(model, found);
    document.body.dataset.found = JSON.stringify(found, (_, value) =>
      typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
    );
    document.body.dataset.answered = turn;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  await update();
  const seconds = ((performance.now() - started) / 1000).toFixed(2);
  $("#about").textContent = `${model.name}, ready in ${seconds} s. Everything below is computed here.`;
  $("main").hidden = false;
}

main().catch((error) => {
  $("#about").textContent = `The model cannot be loaded: ${error.message}`;
  document.body.dataset.failed = error.message;
});
