// Dates: days since 1970, as the model card has them, and the texts that a date field and the service take.

const DAY_MS = 86_400_000;

/** Days -> "2023-05-17", or with the time of day where one is kept. */
export function dayText(days, withTime) {
  const text = new Date(days * DAY_MS).toISOString();
  return withTime ? text.slice(0, 16) : text.slice(0, 10);
}

/** A text in ISO 8601 -> days; NaN if it is none. Without a zone it counts as UTC, as in the service. */
export function textDays(text) {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(text);
  const moment = text.length <= 10 ? `${text}T00:00Z` : zoned ? text : `${text}Z`;
  return Date.parse(moment.replace(" ", "T")) / DAY_MS;
}

/** Whether the feature's values have a time of day. */
export const hasTime = (feature) => ![feature.low, feature.high].every(Number.isInteger);
