// Cells: a cell's text -> the value that the service takes, by the rules of eigenserve.model.rows.readings.

import { textDays } from "../charts/dates.js";
import { CURRENCIES, FALSE_TEXTS, FILLERS, LAST_YEAR, MAGNITUDES, MISSING_TEXTS, MONTH_WORDS, TRUE_TEXTS, ZONE_HOURS } from "../cell_texts.js";

const PLAIN_READING = {
  decimal: ".", thousands: "", affixes: [], magnitudes: false, ranges: false, clock: false, date_format: "", last_year: 0,
  missing: [], markers: true,
};
const PLAIN = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const SIGNS = "$€£¥₹₽₩₺₪฿₫₴₦₱₡₸৳₨₲₭₮₼₾₵៛﷼";
const UNIT = "\\p{L}[^\\p{Nd}@:]{0,15}(?:[23]|/ ?1[.,]73 ?m\\^?[2²])?";
const NUMBER = new RegExp(
  "^(?:(?<bound>[<>]=?|[≤≥~≈]|(?:[Cc]a|[Cc]irca|[Aa]pprox|[Aa]bout)(?!\\p{L})\\.?)\\s*)?" +
    "(?<open>\\()?\\s*(?<sign>[+-])?\\s*" +
    `(?<prefix>(?:\\p{L}{1,5}(?:/\\.?|\\.)?)? ?[${SIGNS}]|\\p{L}{1,5}(?:/\\.?|\\.)?)?\\s*(?<inner>[+(-])?\\s*` +
    "(?<body>(?:[0-9][0-9.,'’ ]*)?[0-9][.,]?|[.,][0-9]+)(?:(?<exponent>[eE][+-]?[0-9]+)|(?<=[.,])--?)?(?<shut>\\s*\\))?" +
    `(?:\\s*(?<suffix>[+*"]|/[-=]|[%‰°℃℉¢${SIGNS}](?:(?: ?/ ?| )?${UNIT})?|(?:/ ?)?${UNIT}))?` +
    "(?<trail>-)?\\s*(?<close>\\))?$",
  "u",
);
/** Fractions that are one sign: 7½. */
const FRACTIONS = {
  "¼": 1 / 4, "½": 1 / 2, "¾": 3 / 4, "⅐": 1 / 7, "⅑": 1 / 9, "⅒": 1 / 10, "⅓": 1 / 3, "⅔": 2 / 3, "⅕": 1 / 5, "⅖": 2 / 5, "⅗": 3 / 5,
  "⅘": 4 / 5, "⅙": 1 / 6, "⅚": 5 / 6, "⅛": 1 / 8, "⅜": 3 / 8, "⅝": 5 / 8, "⅞": 7 / 8,
};
const WITH_FRACTION = new RegExp(`^((?:.*[^0-9.,'’ ] ?)?)([0-9]*) ?([${Object.keys(FRACTIONS).join("")}])([^0-9]*)$`);
const CLOCK =
  /^(?<sign>[+-])?(?:(?<days>[0-9]+) days?,? ?(?:\+ ?)?)?(?<hours>[0-9]{1,4})(?::(?<minutes>[0-5][0-9]))?(?::(?<seconds>[0-5][0-9](?:\.[0-9]+)?))?(?: ?(?<half>[AaPp])\.?[Mm]\.?)?$/;
const STOPWATCH = /^(?<sign>[+-])?(?<minutes>[0-9]{1,6}):(?<seconds>[0-5][0-9]\.[0-9]+)$/;
const ZONE =
  / ?(?:(?:UTC|GMT)?(?<sign>[+-])(?<hours>[0-9]{2}):?(?<minutes>[0-9]{2})|(?<name>Z|[A-Z]{3,4}))(?: \([^()]*\))?$/;
const PLACE = /(?<=[0-9Z])\[[A-Za-z_]+(?:\/[A-Za-z_+-]+)*\]$/;
const PARTING = /(?<=[0-9 ])T(?=[0-9])|(?<=[0-9])-(?=[0-9]{2}:[0-9]{2}:)|(?<=[A-Za-z][0-9]{4}):(?=[0-9]{2}:)/g;
const POINTS = /^([0-9]{1,2})\.([0-9]{2})(?:\.([0-9]{2}(?:\.[0-9]+)?))?(?= ?[AaPp][Mm]|$)/;
const MOMENT =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(?:Z|\+00:?00)?$/;
const ORDINALS = new Set(["st", "nd", "rd", "th"]);
const SHORT = new Set([...CURRENCIES].filter((word) => /^\p{L}{2}$/u.test(word) && word !== "kr"));
const HALVES = new Set(["am", "pm", "a.m", "p.m"]);
const RANGE = /^(?<low>.*(?:[^\s-]|[.,]--?))\s*(?:-|\bto\b|\bbis\b)\s*(?<high>[^\s-].*)$/i;
const WORD = "\\p{L}+";
const CODES = {
  d: "(?<d>[0-9]{1,2})", m: "(?<m>[0-9]{1,2})", Y: "(?<Y>[0-9]{4})", y: "(?<y>[0-9]{2})", b: `(?<b>${WORD})`, B: `(?<B>${WORD})`,
  a: WORD, A: WORD, H: "(?<H>[0-9]{1,2})", M: "(?<M>[0-9]{1,2})", S: "(?<S>[0-9]{1,2})", q: "(?<q>[1-4])", z: "(?<z>Z|[+-][0-9]{2}:?[0-9]{2})",
};

/** A cell's text -> the value that the service takes; throws an Error naming the feature. */
export function readCell(cell, feature) {
  const reading = feature.reading ?? PLAIN_READING;
  if (feature.kind === "categorical") return category(cell, feature, reading);
  const text = plainText(cell);
  if (isMissing(text, reading)) return null;
  if (feature.kind === "boolean") {
    const word = key(text).toLowerCase();
    if (TRUE_TEXTS.has(word)) return true;
    if (FALSE_TEXTS.has(word)) return false;
    throw new Error(`${feature.name} must be true or false; got “${text}”.`);
  }
  if (feature.kind === "datetime") {
    const moment = formattedMoment(text, reading.date_format, reading.last_year) ?? extendedMoment(text.replace(PLACE, ""));
    if (Number.isNaN(textDays(moment))) throw new Error(`${feature.name} must be a date (2024-05-31); got “${text}”.`);
    return moment;
  }
  const number = readNumber(text, reading);
  if (number === null || !Number.isFinite(number)) throw new Error(`${feature.name} must be a number; got “${text}”.`);
  return number;
}

/** The number that a text stands for; null if it is not one. */
export function readNumber(text, reading = PLAIN_READING) {
  const plain = reading.decimal === "." && reading.thousands !== "." && !reading.clock && !arePercents(reading);
  if (plain && PLAIN.test(text)) return Number(text);
  if (reading.clock) return hoursOf(text);
  const parts = splitNumber(text);
  if (parts) return numberOf(parts, reading);
  const ends = reading.ranges ? rangeEnds(text)?.map((end) => numberOf(end, reading)) : null;
  return ends && !ends.includes(null) ? (ends[0] + ends[1]) / 2 : null;
}

/** The parts of a text around its digits; null if it has not the shape of a number. */
function splitNumber(text) {
  const mixed = WITH_FRACTION.exec(plainer(text).trim());
  if (mixed) {
    const [, before, whole, sign, behind] = mixed;
    const parts = splitNumber(`${before}${whole || "0"}${behind}`);
    return parts?.body === (whole || "0") && !parts.power ? { ...parts, fraction: FRACTIONS[sign] } : null;
  }
  const parts = NUMBER.exec(plainer(text).trim())?.groups;
  if (!parts) return null;
  const count = (...flags) => flags.filter(Boolean).length;
  const opened = count(parts.open, parts.inner === "(");
  const minuses = count(parts.sign === "-", parts.inner === "-", parts.trail);
  if (opened !== count(parts.shut, parts.close) || opened > 1 || minuses > 1) return null;
  const [bound, before, whole] = [parts.bound, parts.prefix, parts.suffix].map((affix) => affixKey(affix ?? ""));
  const label = parts.shut && whole && !CURRENCIES.has(whole) && whole[0] !== "%";
  if (label || HALVES.has(whole)) return null;
  const joined = before.replaceAll(" ", "");
  const [factor, prefix] = CURRENCIES.has(joined) ? ["", joined] : scaled(before);
  const [scale, suffix] = scaled(whole);
  if (factor && scale) return null;
  return {
    bound, prefix: prefix.replaceAll(" ", ""), scale: factor || scale, suffix, trail: Boolean(parts.trail),
    power: parts.exponent ? Number(parts.exponent.slice(1)) : 0, sign: minuses || opened ? "-" : "", body: parts.body.replaceAll("’", "'"),
  };
}

/** The ends of 10-19, 10 to 19 or (10, 20]; null for other texts. */
function rangeEnds(text) {
  let plain = plainer(text).trim();
  const brackets = /^[[(](.+)[\])]$/.exec(plain);
  if (brackets) plain = brackets[1].trim().replace(", ", " to ");
  const match = RANGE.exec(plain)?.groups;
  const [low, high] = [splitNumber(match?.low ?? ""), splitNumber(match?.high ?? "")];
  return low && high ? [low.suffix || low.scale ? low : { ...low, suffix: high.suffix, scale: high.scale }, high] : null;
}

/** A magnitude and the currency or unit next to it: "mio. €", "k€", "teur", "million people". */
function scaled(whole) {
  const blank = whole.indexOf(" ");
  let [head, unit] = blank < 0 ? [whole, ""] : [whole.slice(0, blank), whole.slice(blank + 1)];
  if (!unit && !CURRENCIES.has(whole)) {
    const ends = Array.from(whole, (_letter, at) => whole.slice(at)).slice(1);
    unit = ends.find((end) => CURRENCIES.has(end) && !SHORT.has(end)) ?? "";
    head = whole.slice(0, whole.length - unit.length);
  }
  const scale = affixKey(head);
  const power = Object.hasOwn(MAGNITUDES, scale) ? MAGNITUDES[scale] : 0;
  if (!unit || power <= 0 || (scale.length <= 2 && !CURRENCIES.has(unit))) return ["", whole];
  return [scale === "t" && CURRENCIES.has(unit) ? "tsd" : scale, unit];
}

function numberOf({ bound, prefix, scale, suffix, trail, power, sign, body, fraction = 0 }, reading) {
  const alone = reading.magnitudes && !scale && Object.hasOwn(MAGNITUDES, suffix);
  const factor = scale || (alone ? suffix : "");
  const affixes = [bound, prefix, alone ? "" : suffix];
  const unknown = (scale && !reading.magnitudes) || affixes.some((affix) => affix && !reading.affixes.includes(affix));
  const digits = digitsOf(body, reading);
  if (unknown || digits === null) return null;
  const negative = trail && reading.affixes.includes("-") ? "" : sign;
  const scaledBy = power + (factor ? MAGNITUDES[factor] : 0);
  const number = Number(`${negative}${digits}e${scaledBy}`) + fraction * Number(`${negative}1e${scaledBy}`);
  return !suffix && number !== 0 && arePercents(reading) ? null : number;
}

function arePercents({ affixes }) {
  return affixes.some((affix) => affix.startsWith("%"));
}

function category(cell, { categories }, reading) {
  const text = plainText(cell);
  for (const spelt of [cell, text]) if (categories.includes(spelt)) return spelt;
  if (isMissing(text, reading)) return null;
  const same = categories.find((other) => key(other) === key(text));
  if (same !== undefined) return same;
  const folded = categories.filter((other) => key(other).toLowerCase() === key(text).toLowerCase());
  return folded.length === 1 ? folded[0] : text;
}

function isMissing(text, { missing, markers }) {
  return text === "" || missing.includes(text) || (markers && MISSING_TEXTS.has(text));
}

/** 3.0 and 3 are one category, 1.50 and 1.5, and a midnight and its date. */
function key(text) {
  const trimmed = plainText(text);
  const number = /^(-?)([0-9]*)\.([0-9]+)$/.exec(trimmed);
  const moment = MOMENT.exec(trimmed);
  const digits = (number?.[3] ?? moment?.[4] ?? "").replace(/0+$/, "");
  const fraction = digits ? `.${digits}` : "";
  if (number) return `${number[1]}${number[2] || "0"}${fraction}`;
  if (!moment) return trimmed;
  const clock = `${moment[2]}:${moment[3] ?? "00"}${fraction}`;
  return clock === "00:00:00" ? moment[1] : `${moment[1]} ${clock}`;
}

/** A text as it looks: without signs of no width, its blanks and accents written in one way. */
function plainText(text) {
  return text.replace(/[\u200b-\u200f\u2060\ufeff]/g, "").replace(/\p{Zs}/gu, " ").normalize("NFC").trim();
}

function plainer(text) {
  return text.replace(/[\u2010-\u2014\u2212]/g, "-").replace(/[\u00a0\u202f\u2009\u2007]/g, " ");
}

function affixKey(text) {
  const short = text.trim().replace(/\.+$/, "").toLowerCase().replaceAll("/ ", "/").replaceAll(" /", "/");
  if (ORDINALS.has(short)) return "th";
  return short.length > 2 && short.endsWith("s") && !CURRENCIES.has(short) ? short.slice(0, -1) : short;
}

function digitsOf(body, { decimal, thousands }) {
  const point = `\\${decimal}`;
  let pattern = `[0-9]+${point}?[0-9]*|${point}[0-9]+`;
  if (thousands) {
    const mark = /[.,]/.test(thousands) ? `\\${thousands}` : thousands;
    pattern += `|[1-9][0-9]{0,2}(?:${mark}[0-9]{2,3})*${mark}[0-9]{3}(?:${point}[0-9]*)?`;
  }
  if (!new RegExp(`^(?:${pattern})$`).test(body)) return null;
  return (thousands ? body.replaceAll(thousands, "") : body).replace(decimal, ".");
}

function hoursOf(text) {
  const stopwatch = STOPWATCH.exec(plainer(text))?.groups;
  const parts = stopwatch ? { ...stopwatch, hours: 0 } : CLOCK.exec(plainer(text))?.groups;
  if (!parts?.minutes && !parts?.half) return null;
  let hours = Number(parts.hours);
  if (parts.half) {
    if (hours < 1 || hours > 12 || parts.days) return null;
    hours = (hours % 12) + (/p/i.test(parts.half) ? 12 : 0);
  }
  const seconds = 3600 * (24 * Number(parts.days ?? 0) + hours) + 60 * Number(parts.minutes ?? 0) + Number(parts.seconds ?? 0);
  return (parts.sign === "-" ? -seconds : seconds) / 3600;
}

/** A date in a format of strptime, its month in any language that is known, as ISO 8601; null for other texts. */
function formattedMoment(written, format, lastYear) {
  // Where a column of whole numbers has a gap, programs write 20240131.0.
  const text = /^([0-9]{6,})\.0+$/.exec(written)?.[1] ?? written;
  const moment = format ? momentBy(text, format, lastYear) : null;
  if (moment !== null || !/%[bB]/.test(format)) return moment;
  return momentBy(plainDate(text), format.replaceAll("%B", "%b").replaceAll(". ", " "), lastYear);
}

/** A moment in the basic form of ISO 8601, 20240131T1011, or with a comma before the fraction, in the form browsers read. */
function extendedMoment(text) {
  const day = text.replace(/^([0-9]{4})([0-9]{2})([0-9]{2})(?=[T ]|$)/, "$1-$2-$3");
  const basic = /^([0-9-]{10}[T ])([0-9]{2})(?:([0-9]{2})([0-9]{2})?)?(?=[.,Z+-]|$)/;
  return day.replace(basic, (_all, date, h, m = "00", s = "00") => `${date}${h}:${m}:${s}`).replace(",", ".");
}

/** A date without ordinals, the points of abbreviations and words such as "de". */
function plainDate(text) {
  const plain = text.replace(/(?<=[0-9])(?:(?:st|nd|rd|th|er)(?!\p{L})|[ºª]|\.(?=\s))/giu, "");
  const words = plain.replace(/\p{L}+(?:\.(?=[\s,]|$))?/gu, (all) => {
    const word = all.replace(/\.$/, "").toLowerCase();
    if (word in MONTH_WORDS) return word;
    return FILLERS.has(word) ? "" : all;
  });
  return words.split(/\s+/).filter(Boolean).join(" ");
}

/** Digits with the zeros in front that whole numbers lose of a date in digits alone; null where they are none. */
function withZeros(text, format) {
  if (!/^(?:%[YymdjHMS])+$/.test(format) || !/^[0-9]+$/.test(text)) return text;
  const width = [...format.matchAll(/%(.)/g)].reduce((sum, [, code]) => sum + ({ Y: 4, j: 3 }[code] ?? 2), 0);
  const lost = { Y: 0, y: 3 }[format[1]] ?? 1;
  return text.length <= width && text.length >= width - lost ? text.padStart(width, "0") : null;
}

/** A date, with or without a time behind it. */
function momentBy(text, format, lastYear) {
  const whole = dateBy(text, format, lastYear);
  if (whole !== null) return whole;
  const words = plainer(text).replace(PARTING, " ").trim().split(/\s+/);
  const count = format.split(" ").length;
  if (words.length <= count || /%[HI]/.test(format)) return null;
  // JavaScript's toLocaleString writes a comma between them.
  const day = dateBy(words.slice(0, count).join(" ").replace(/,$/, ""), format, lastYear);
  const rest = words.slice(count).join(" ").replace(/^at | Uhr$/g, "");
  const zone = ZONE.exec(rest);
  const clock = zone ? rest.slice(0, zone.index) : rest;
  const hours = hoursOf(clock.replace(POINTS, (_all, ...parts) => parts.slice(0, 3).filter(Boolean).join(":")));
  if (day === null || hours === null || hours < 0 || hours >= 24) return null;
  const time = new Date(hours * 3_600_000).toISOString().slice(11, 23);
  if (!zone) return `${day}T${time}`;
  const { sign, hours: zoneHours, minutes, name } = zone.groups;
  if (!name) return `${day}T${time}${sign}${zoneHours}:${minutes}`;
  if (!Object.hasOwn(ZONE_HOURS, name)) return null;
  const shift = ZONE_HOURS[name];
  return `${day}T${time}${shift < 0 ? "-" : "+"}${String(Math.abs(shift)).padStart(2, "0")}:00`;
}

function dateBy(written, format, lastYear) {
  const text = withZeros(written, format);
  if (text === null) return null;
  const escaped = format.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/ +/g, "\\s+");
  const parts = new RegExp(`^${escaped.replace(/%(.)/g, (all, code) => CODES[code] ?? all)}$`, "iu").exec(text)?.groups;
  if (!parts) return null;
  const name = (parts.b ?? parts.B)?.toLowerCase();
  const month = name ? (MONTH_WORDS[name] ?? 0) : Number(parts.m ?? 3 * Number(parts.q ?? 1) - 2);
  const last = lastYear || LAST_YEAR;
  const year = Number(parts.Y ?? last - ((last - Number(parts.y)) % 100));
  const day = Number(parts.d ?? 1);
  const date = new Date(Date.UTC(year, month - 1, day));
  if (month < 1 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  const iso = date.toISOString().slice(0, 10);
  if (parts.H === undefined) return iso;
  const two = (part) => String(part ?? 0).padStart(2, "0");
  const zone = (parts.z ?? "").replace(/^([+-]\d\d)(\d\d)$/, "$1:$2");
  return `${iso}T${two(parts.H)}:${two(parts.M)}:${two(parts.S)}${zone}`;
}
