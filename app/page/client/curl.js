// The request as a command: what the page asks, for a terminal.

import { USUAL_METHOD } from "./questions.js";

/** `/explain` of this row with curl; a key stands in it as a variable, never as itself. */
export function curlCommand(state, base, withKey) {
  const body = { instances: [state.row], model: state.card.name, version: state.card.version };
  if (state.method !== USUAL_METHOD) body.method = state.method;
  if (state.target !== null) body.target = state.target;
  const lines = [`curl -s ${quote(new URL("explain", base).href)}`, `-H 'content-type: application/json'`];
  if (withKey) lines.push('-H "authorization: Bearer $EIGENSERVE_KEY"');
  lines.push(`-d ${quote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}

/** A text as one word of a POSIX shell. */
function quote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
