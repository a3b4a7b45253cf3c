// An exported model in the browser: rows in, predictions and explanations out.

import * as ort from "onnxruntime-web";
import { readMetadata } from "./metadata.js";

// More threads need a page that is cross-origin isolated; one row takes about a millisecond on one.
ort.env.wasm.numThreads = 1;

export class SpectralModel {
  /** Load an exported file; `url` may be relative to the page. */
  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return new SpectralModel(session, readMetadata(bytes));
  }

  constructor(session, facts) {
    const fact = (name) => facts[`eigenserve.${name}`];
    this.session = session;
    this.name = fact("name");
    this.target = fact("target");
    this.task = fact("task");
    this.features = JSON.parse(fact("features"));
    this.classes = JSON.parse(fact("classes"));
    this.terms = JSON.parse(fact("terms"));
    this.numeric = JSON.parse(fact("sensitivities"));
    this.texts = fact("category_inputs") === "strings";
  }

  /** One row {feature: value}, where null, undefined and "" are missing -> outputs by name. */
  async predict(row) {
    const feeds = {};
    for (const feature of this.features) feeds[feature.input] = this.#tensor(feature, row[feature.name]);
    const found = await this.session.run(feeds);
    return Object.fromEntries(
      Object.entries(found).map(([name, tensor]) => [name, Array.from(tensor.data, plain)]),
    );
  }

  #tensor(feature, value) {
    const missing = value === null || value === undefined || value === "";
    if (feature.kind === "categorical" && this.texts) {
      return new ort.Tensor("string", [missing ? "" : String(value)], [1, 1]);
    }
    let number = missing ? NaN : feature.kind === "datetime" ? days(value) : Number(value);
    if (feature.kind === "categorical" && !missing) {
      const code = feature.categories.indexOf(String(value));
      number = code < 0 ? feature.categories.length : code;
    }
    return new ort.Tensor("float64", Float64Array.of(number), [1, 1]);
  }
}

/** ISO 8601 text -> days since 1970-01-01; one without a zone counts as UTC. */
function days(text) {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes("T");
  return Date.parse(zoned ? text : `${text}Z`) / 86_400_000;
}

/** 64-bit integers (class labels) as numbers. */
const plain = (value) => (typeof value === "bigint" ? Number(value) : value);
