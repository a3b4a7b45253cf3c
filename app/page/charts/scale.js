// Where a number stands on its feature's track, from 0 (least training value) to 1 (largest), and back.

import { fractionDigits, roundNumbers } from "./numbers.js";

/** Positions of a slider from end to end. */
export const POSITIONS = 1000;
// A typical value nearer to an end than the first share of the track is drawn in to the second: else a long tail
// leaves a slider most of whose track has no rows.
const NEAR = 0.25;
const DRAWN_TO = 0.35;

/** position(value), value(position), and the `decimals` that are worth typing. */
export function trackScale(feature) {
  const { low, high } = feature;
  const span = high > low ? high - low : 1;
  const whole = [low, high, feature.typical].every(Number.isInteger);
  const typical = Number.isFinite(feature.typical) ? (feature.typical - low) / span : 0.5;
  const mirrored = typical > 0.5;
  const share = Math.max(mirrored ? 1 - typical : typical, 1e-3);
  const linear = share >= NEAR || (whole && span <= 30);
  const power = linear ? 1 : Math.log(DRAWN_TO) / Math.log(share);
  const bend = (at, exponent) => (mirrored ? 1 - (1 - at) ** exponent : at ** exponent);
  const clamp = (at) => Math.min(1, Math.max(0, at));
  const decimals = whole ? 0 : decimalsOf(feature, span);
  return {
    decimals,
    ticks: () => ticks(feature, linear ? null : (at) => low + span * bend(at, 1 / power), whole),
    position: (value) => bend(clamp((value - low) / span), power),
    value: (position) => {
      const value = low + span * bend(clamp(position), 1 / power);
      // The ends are reached exactly, whatever rounding does to what lies between.
      if (position <= 0) return low;
      return position >= 1 ? high : Math.min(high, Math.max(low, Number(value.toFixed(decimals))));
    },
  };
}

/** Round values to mark on the track: evenly spaced, or where `valueAt` bends it, those near places evenly spaced. */
function ticks({ low, high }, valueAt, whole) {
  if (valueAt === null) return roundNumbers(low, high, 4, whole);
  const near = [0, 0.25, 0.5, 0.75, 1].map((place) => Number(valueAt(place).toPrecision(2)));
  return [...new Set(near)].filter((value) => value >= low && value <= high);
}

/** As many decimals as the training values had, but no more than five thousand steps. */
function decimalsOf(feature, span) {
  const written = [feature.low, feature.high, feature.typical].filter(Number.isFinite).map(fractionDigits);
  return Math.max(0, Math.min(Math.max(...written), Math.ceil(Math.log10(5000 / span)), 20));
}
