// The service as the page asks it: JSON over fetch, a key where one is needed, the newest question first.

import { keeper } from "./kept.js";

const KEY = "eigenserve-key";
const tab = keeper("sessionStorage");

/** An error to show to the reader, not a defect of the page. */
export class ReportedError extends Error {}

/** An answer that is a problem (RFC 9457). */
export class Problem extends ReportedError {
  constructor(status, document) {
    super(document.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.errors = document.errors ?? [];
  }
}

export const hasKey = () => tab.get(KEY) !== null;
export const keepKey = (key) => tab.keep(KEY, key);

export const get = (path, signal) => ask(path, { signal });

export const post = (path, body, signal) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal });

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ReportedError("The server does not answer.");
  }
}

async function ask(path, { headers = {}, ...options }) {
  const key = tab.get(KEY);
  const response = await send(path, {
    ...options,
    headers: { accept: "application/json", ...headers, ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
    cache: "no-store",
    credentials: "same-origin",
  });
  const document = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, document);
  return document;
}

/**
 * Questions of one kind, at most one of them under way: of those that come meanwhile only the newest is kept.
 *
 * The one under way is waited for, not aborted at each newer one: over a slow line nothing would be shown as
 * long as a value is dragged. `drop` aborts it where its answer is no longer wanted.
 */
export class Lane {
  #send;
  #rested;
  #waiting = null;
  #running = null;

  /** `send(question, signal)` does everything, and reports its own failures; `rested()` is called when all is answered. */
  constructor(send, rested = () => {}) {
    this.#send = send;
    this.#rested = rested;
  }

  get resting() {
    return this.#running === null;
  }

  want(question) {
    this.#waiting = { question };
    if (this.#running === null) this.#work();
  }

  drop() {
    this.#waiting = null;
    this.#running?.abort();
    this.#running = null;
  }

  async #work() {
    while (this.#waiting !== null) {
      const { question } = this.#waiting;
      const running = new AbortController();
      this.#waiting = null;
      this.#running = running;
      await this.#send(question, running.signal).catch((error) => {
        if (error.name !== "AbortError") throw error;
      });
      // Dropped meanwhile: whoever asked since works on its own.
      if (this.#running !== running) return;
    }
    this.#running = null;
    this.#rested();
  }
}
