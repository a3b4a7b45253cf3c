// Outcomes: a model's predictions and scores in words, whatever its task.

import { decimalsFor, format, percent } from "../charts/numbers.js";

/** The class whose score is explained: the one asked for, or the predicted one. */
export function explainedClass(card, target, prediction) {
  return card.classes.length ? (target ?? prediction.label) : null;
}

/** A class as a headline: a bare number or a boolean says nothing without the target's name. */
export function className(card, label) {
  return typeof label === "string" && Number.isNaN(Number(label)) ? label : `${card.target} = ${label}`;
}

/** What a score is counted in. */
export function scoreUnit(card) {
  return { identity: card.target, logistic: "log-odds", softmax: "softmax score", exp: `log of ${card.target}` }[card.link];
}

/** The number that a prediction comes down to: itself, or the probability of a class. */
export function predictedNumber(prediction, label) {
  if (prediction === null || typeof prediction === "number") return prediction;
  return prediction.probabilities[String(label)] ?? null;
}

/** A prediction's number as text. */
export function numberText(card, number) {
  return card.classes.length ? percent(number) : format(number, predictedDecimals(card, number));
}

/** Decimals of a prediction: a thousandth of the model's usual error, where its card gives one. */
function predictedDecimals(card, number) {
  const error = card.metrics?.test?.rmse ?? card.metrics?.out_of_fold?.rmse;
  return error > 0 ? Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error)))) : decimalsFor(number);
}

/** A score -> the number predicted from it; null for softmax, where one score says nothing alone. */
export function fromScore(card, score) {
  if (card.link === "identity") return score;
  if (card.link === "exp") return Math.exp(score);
  return card.link === "logistic" ? 1 / (1 + Math.exp(-score)) : null;
}

/** Levels at which the model keeps prediction intervals, as {level, radius}, ascending. */
export function intervalLevels(card) {
  const kept = card.classes.length ? {} : (card.card.intervals ?? {});
  return Object.entries(kept)
    .map(([level, radius]) => ({ level: Number(level), radius }))
    .sort((a, b) => a.level - b.level);
}

/** What multiplies the radii of intervals about a prediction: 1, or by the model's scale, on lines between its places. */
export function intervalWidth(card, predicted) {
  const { at, width } = card.card.interval_scale ?? { at: [0], width: [1] };
  const next = at.findIndex((place) => place > predicted);
  if (next === 0) return width[0];
  if (next < 0) return width[width.length - 1];
  const share = (predicted - at[next - 1]) / (at[next] - at[next - 1]);
  return width[next - 1] + share * (width[next] - width[next - 1]);
}
