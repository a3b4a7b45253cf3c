// The page: what is chosen and entered, what is asked about it, and who shows the answers.

import { CertificatePanel } from "./panels/certificate.js";
import { ChainPanel } from "./panels/chain.js";
import { paintDefaults, setUpCharts } from "./charts/charts.js";
import { get, hasKey, Lane, ReportedError } from "./client/client.js";
import { CounterfactualPanel } from "./panels/counterfactuals.js";
import { curlCommand } from "./client/curl.js";
import { CurvesPanel } from "./panels/curves.js";
import { DecisionPanel } from "./panels/decision.js";
import { DriftPanel } from "./panels/drift.js";
import { byId, make, say } from "./dom.js";
import { RowForm, firstRow, typicalRow } from "./form/form.js";
import { InteractionsPanel } from "./panels/interactions.js";
import { askForKey } from "./client/key.js";
import { linkedRow, readLink, writeLink } from "./client/link.js";
import { decimalsFor, signed } from "./charts/numbers.js";
import { setUpPaste } from "./form/paste.js";
import { PredictionPanel } from "./panels/prediction.js";
import { USUAL_METHOD, askExplanation, askParts } from "./client/questions.js";
import { setUpTheme } from "./charts/theme.js";
import { Waterfall } from "./panels/waterfall.js";

/** A value that was not touched for this long rests: then the link, the order of terms and the spoken words follow. */
const REST_MS = 250;
const METHODS = [USUAL_METHOD, "shapley_terms", "eigenvector", "shapley", "path"];

/** What the page shows. `target` is the class to explain; null stands for the predicted one. */
const state = { models: [], card: null, row: {}, method: USUAL_METHOD, target: null };

const lanes = [];
/** What went wrong, by the kind of question. */
const faults = new Map();
const form = new RowForm(byId("fields"), (name, value, resting) => takeRow({ [name]: value }, name, resting));
const prediction = new PredictionPanel((label) => choose({ target: label === state.target ? usualTarget(state.card) : label }));
const waterfall = new Waterfall();
const certificate = new CertificatePanel(() => ask(true));
const counterfactuals = new CounterfactualPanel((changes) => takeRow(changes, null, true), lane);
const decision = new DecisionPanel(lane);
const curves = new CurvesPanel((name, value, resting) => takeRow({ [name]: value }, null, resting));
const interactions = new InteractionsPanel();
const drawn = [curves, certificate, new ChainPanel()];
const panels = [prediction, waterfall, ...drawn, decision, counterfactuals, interactions, new DriftPanel(lane)];
const PARTS = ["certificate", "eigenvector", "curves"];
/** Shapley interactions cost a thousand predictions: they are asked for once the row rests. */
const COSTLY = ["interactions"];

const quick = lane(async (question, signal) => {
  const explanation = await askExplanation(question, USUAL_METHOD, signal);
  prediction.show(explanation, question.target);
  if (question.method === USUAL_METHOD) showWhy(explanation, question);
  counterfactuals.follow(question, explanation.prediction);
  decision.follow(question);
  if (question.resting) say(byId("spoken"), `${prediction.spoken()} ${waterfall.spoken()}`);
});
const byMethod = lane(async (question, signal) => {
  showWhy(await askExplanation(question, question.method, signal), question);
});
const whole = lane(async (question, signal) => {
  const radii = await certificate.radii(question, signal);
  const answer = await askParts(question, PARTS, signal, radii === null ? {} : { radii });
  for (const panel of drawn) panel.show(answer, question);
});
/** A proof takes as long as thirty drawings of a row: it waits until the row rests. It is of the method that is shown. */
const steadiness = lane(async (question, signal) => {
  const { method } = question;
  certificate.flag((await askParts(question, ["stability"], signal, { method })).stability);
});
const pairs = lane(async (question, signal) => interactions.show(await askParts(question, COSTLY, signal)));
let rest = null;
let opened = 0;

/** A lane whose failures are reported, and which the page waits for. */
function lane(send) {
  const made = new Lane((question, signal) => answered(() => send(question, signal), made), showBusy);
  lanes.push(made);
  return made;
}

/** Whether something is still asked or dragged: for screen readers, which then wait. */
function showBusy() {
  document.querySelector("main").ariaBusy = String(rest !== null || lanes.some(({ resting }) => !resting));
}

function showWhy(explanation, question) {
  waterfall.show(explanation, question);
  const { contributions } = explanation;
  const decimals = decimalsFor(...Object.values(contributions));
  const notes = Object.entries(contributions).map(([term, amount]) => [
    term,
    { text: signed(amount, decimals), sign: Math.sign(amount) },
  ]);
  form.note(Object.fromEntries(notes));
}

/** Run a question to its answer; what goes wrong is shown until the same kind of question is answered. */
async function answered(work, kind) {
  try {
    await work();
    faults.delete(kind);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.status === 401) askForKey(error.message, refresh);
    else {
      faults.delete(kind);
      faults.set(kind, error.message);
    }
    if (!(error instanceof ReportedError)) console.error(error);
  }
  // The newest of them.
  const text = [...faults.values()].at(-1) ?? "";
  byId("notice").hidden = text === "";
  say(byId("notice"), text);
}

/** Ask everything about the row as it is now. */
function ask(resting) {
  const { card, method, target } = state;
  if (card === null) return;
  const question = { card, method, target, row: { ...state.row }, resting };
  quick.want(question);
  if (method !== USUAL_METHOD) byMethod.want(question);
  whole.want(question);
  clearTimeout(rest);
  rest = resting ? null : setTimeout(() => ask(true), REST_MS);
  certificate.flag(null);
  if (resting) {
    pairs.want(question);
    steadiness.want(question);
    settled();
  }
  showBusy();
}

function settled() {
  history.replaceState(null, "", writeLink(state));
  say(byId("curl"), curlCommand(state, document.baseURI, hasKey()));
}

/** Take values into the row; `from` is the field that they come from, if any. */
function takeRow(values, from, resting) {
  Object.assign(state.row, values);
  form.show(state.row, from);
  ask(resting);
}

/** Choose a method or a class to explain. */
function choose(choice) {
  Object.assign(state, choice);
  for (const input of byId("method").querySelectorAll("input")) input.checked = input.value === state.method;
  byMethod.drop();
  ask(true);
}

/** Show a model, by default its newest version, with the values, method and class of a link; `notice` is of the link. */
async function open(name, version, linked = null, notice = "") {
  document.querySelector("main").ariaBusy = "true";
  opened += 1;
  const turn = opened;
  await answered(async () => {
    const place = version === null ? "" : `/versions/${encodeURIComponent(version)}`;
    const card = await get(`models/${encodeURIComponent(name)}${place}`);
    // Another one was picked meanwhile.
    if (turn !== opened) return;
    faults.clear();
    if (notice) faults.set("link", notice);
    for (const lane of lanes) lane.drop();
    const method = METHODS.includes(linked?.method) ? linked.method : state.method;
    const row = { ...firstRow(card), ...linkedRow(linked?.texts ?? {}, card.features) };
    Object.assign(state, { card, row, target: readTarget(card, linked) });
    form.build(card.features);
    form.show(row);
    for (const panel of panels) panel.build(card);
    choose({ method });
  }, "model");
  // Where it could not be read, what is shown is still another one, or none: any can be picked.
  if (turn === opened) showChoices();
  showBusy();
}

/** The class to explain: that of the link, if there is one. */
function readTarget(card, linked) {
  const asked = card.classes.find((label) => String(label) === linked?.target);
  return asked ?? usualTarget(card);
}

/** Of two classes the second, so that signs do not turn over where the prediction does; of more, the predicted one. */
const usualTarget = (card) => (card.classes.length === 2 ? card.classes[1] : null);

function showChoices() {
  const { card, models } = state;
  byId("model").replaceChildren(...models.map(({ name }) => option(name, name === card?.name)));
  const versions = card?.versions.toReversed() ?? [];
  byId("version").replaceChildren(...versions.map((version) => option(version, version === card.version)));
  // With nothing chosen, picking the first one is a change too.
  if (card === null) byId("model").selectedIndex = -1;
}

const option = (text, selected) => make("option", { value: text, text, selected });

/** Read which models there are, and show the one that the address asks for. */
async function refresh() {
  document.querySelector("main").ariaBusy = "true";
  await answered(async () => {
    ({ models: state.models } = await get("models"));
    if (!state.models.length) throw new ReportedError("The server has no model yet: train one into its store.");
    const linked = readLink(location.hash);
    const known = state.models.find(({ name }) => name === linked.model);
    const first = known ?? state.models.find((model) => model.default) ?? state.models[0];
    const version = known?.versions.includes(linked.version) ? linked.version : null;
    await open(first.name, version, known === undefined ? null : linked, missed(linked, known));
  }, "models");
  showBusy();
}

/** What a link asks for that the server does not have, as a sentence. */
function missed({ model, version }, known) {
  if (model === null) return "";
  if (known === undefined) return `The server has no model “${model}”: this is another one.`;
  if (version === null || known.versions.includes(version)) return "";
  return `The server has no version ${version} of ${model}: this is the newest one.`;
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = before), 1500);
}

function setUpControls() {
  byId("model").addEventListener("change", (event) => open(event.target.value, null));
  byId("version").addEventListener("change", (event) => open(state.card.name, event.target.value));
  byId("typical").addEventListener("click", () => takeRow(typicalRow(state.card.features), null, true));
  byId("copy-link").addEventListener("click", (event) => {
    copy(new URL(writeLink(state), location.href).href, event.currentTarget);
  });
  byId("copy-curl").addEventListener("click", (event) => {
    copy(curlCommand(state, document.baseURI, hasKey()), event.currentTarget);
  });
  byId("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", refresh);
  for (const method of METHODS) {
    const on = { change: () => choose({ method }) };
    const input = make("input", { type: "radio", name: "method", value: method, on });
    byId("method").append(make("label", {}, input, make("span", { text: method })));
  }
  setUpPaste(
    () => state.card.features,
    (row) => takeRow(row, null, true),
  );
}

setUpTheme(() => {
  paintDefaults();
  for (const panel of panels) panel.redraw();
});
setUpCharts();
setUpControls();
refresh();
