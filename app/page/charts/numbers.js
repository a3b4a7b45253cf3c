// Numbers as people read them: the same number of decimals in a column, a true minus sign.

const MINUS = "\u2212";
/** Numbers nearer to zero are written as powers of ten, unless their decimals are given. */
const TINY = 1e-6;
const formats = new Map();

/** Decimals that show three digits of the largest of some numbers. */
export function decimalsFor(...values) {
  const largest = Math.max(...values.filter(Number.isFinite).map(Math.abs), 0);
  return largest > 0 ? Math.min(8, Math.max(0, 2 - Math.floor(Math.log10(largest)))) : 0;
}

/** A number as a power of ten, of these digits at most: 2.5e12. */
const powered = (value, digits) => Number(value.toPrecision(digits)).toExponential().replace("e+", "e").replaceAll("-", MINUS);

const isTiny = (value) => value !== 0 && Math.abs(value) < TINY;

/** A number with these decimals; by default three digits of it, or all before the point. */
export function format(value, decimals = null) {
  if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : `${MINUS}\u221e`;
  if (Math.abs(value) >= 1e12) return powered(value, 4);
  if (decimals === null) return isTiny(value) ? powered(value, 3) : format(value, decimalsFor(value));
  if (!formats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat("en-US", digits));
  }
  const text = formats.get(decimals).format(Math.abs(value));
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** A change, with its sign. */
export function signed(value, decimals = decimalsFor(value)) {
  const text = format(value, decimals);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A share of one, in percent. */
export function percent(share) {
  if (share === null || share === undefined) return "\u2013";
  const value = 100 * share;
  // Between nothing and everything near the ends, two: 0.04 % is not 0 %.
  const decimals = value === 0 || value >= 100 ? 0 : value < 0.1 || value > 99.9 ? 2 : 1;
  return `${format(value, decimals)}\u2009%`;
}

/** A share of one for an axis: whole percents, unless they would be too few. */
export const shortPercent = (share, step = 0.1) => `${format(100 * share, step < 0.01 ? 1 : 0)}\u2009%`;

/** A number as it is, without more digits than it has. */
export const plain = (value) => (isTiny(value) ? powered(value, 6) : format(value, fractionDigits(Number(value.toPrecision(6)))));

/** Decimals that a number is written with, 20 at most: 2 for 0.25, 9 for 1e-9. */
export function fractionDigits(value) {
  const [digits, power = "0"] = String(value).split("e");
  const [, fraction = ""] = digits.split(".");
  return Math.min(20, Math.max(0, fraction.length - Number(power)));
}

/** A number for an axis, short: thousands as k, millions as M, and no more decimals than the step needs. */
export function short(value, step = Math.abs(value)) {
  if (Math.abs(value) < step / 1e3) return "0";
  if (isTiny(step) || Math.abs(value) >= 1e9) return powered(value, Math.min(15, Math.max(3, Math.ceil(Math.log10(Math.abs(value) / step)) + 1)));
  const [unit, sign] = unitOf(value);
  const decimals = step > 0 ? Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9))) : 0;
  return format(value / unit, decimals) + sign;
}

/** A round number for an axis, short, with all the digits that it has. */
export function shortRound(value) {
  if (Math.abs(value) >= 1e9) return powered(value, 3);
  const [unit, sign] = unitOf(value);
  return plain(value / unit) + sign;
}

const unitOf = (value) => (Math.abs(value) >= 1e6 ? [1e6, "M"] : Math.abs(value) >= 1e4 ? [1e3, "k"] : [1, ""]);

/** The distance between the ticks of an axis, for `short`. */
export const stepOf = (ticks) => (ticks.length > 1 ? Math.abs(ticks[1].value - ticks[0].value) : undefined);

/** Round numbers between two others, about `count` of them. */
export function roundNumbers(low, high, count, whole = false) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power, whole ? 1 : 0);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
