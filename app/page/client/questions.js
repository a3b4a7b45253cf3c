// Questions: what the page asks about a row.

import { post } from "./client.js";

/** The body of a request about this row. */
export function rowBody({ card, row, target }) {
  const body = { instances: [row], model: card.name, version: card.version };
  if (target !== null) body.target = target;
  return body;
}

/** The method of the server where none is asked for. */
export const USUAL_METHOD = "integrated";

/** The explanation of a row by one method. */
export async function askExplanation(question, method, signal) {
  const { explanations } = await post("explain", { ...rowBody(question), method }, signal);
  return explanations[0];
}

/** The explanation of a row with these parts; `options` are further keys of the request, such as the method. */
export async function askParts(question, include, signal, options = {}) {
  const { explanations } = await post("explain", { ...rowBody(question), include, ...options }, signal);
  return explanations[0];
}
