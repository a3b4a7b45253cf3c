// Drift: whether what was predicted lately is still like the training rows, and in what it is not.

import { get } from "../client/client.js";
import { byId, make, named } from "../dom.js";
import { percent } from "../charts/numbers.js";

/** As many as can be read at a glance; the others are counted. */
const MOST = 6;
const KINDS = { feature: "", score: "score ", contribution: "contribution of " };

export class DriftPanel {
  #lane;

  /** `lane(send)` makes a lane for the question. */
  constructor(lane) {
    this.#lane = lane(async (card, signal) => this.#show(await get(path(card), signal)));
  }

  /** Ask once for each model that is opened: it is of the model, not of the row. */
  build(card) {
    this.#lane.drop();
    byId("drift-section").hidden = !card.drift;
    byId("drift").replaceChildren();
    if (card.drift) this.#lane.want(card);
  }

  /** Nothing here is drawn. */
  redraw() {}

  #show({ windows: { recent }, level }) {
    if (!recent.rows) return void byId("drift").replaceChildren(note("Nothing was predicted lately."));
    const alarms = recent.channels.filter(({ alarm }) => alarm);
    const rows = `The newest ${recent.rows.toLocaleString("en-US")} predicted rows `;
    if (!alarms.length) return void byId("drift").replaceChildren(note(`${rows}are like the training rows, as far as chance lets one see.`));
    const items = alarms.slice(0, MOST).map(({ kind, name, changed }) => {
      const how = changed ? ` (${changed.bin}: ${percent(changed.now)} of them, ${percent(changed.training)} in training)` : "";
      return make("li", {}, KINDS[kind], make("b", {}, ...named(name)), how);
    });
    const further = alarms.length > MOST ? [make("li", { text: `and ${alarms.length - MOST} more` })] : [];
    const text = `${rows}are not like the training rows. By chance any of this happens in one window of ${Math.round(1 / level).toLocaleString("en-US")}:`;
    byId("drift").replaceChildren(note(text), make("ul", { class: "drifted" }, ...items, ...further));
  }
}

const path = ({ name, version }) => `models/${encodeURIComponent(name)}/drift?version=${encodeURIComponent(version)}`;

const note = (text) => make("p", { class: "note", text });
