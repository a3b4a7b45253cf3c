// The key: asked for where the server wants one, and kept until the tab is closed.

import { keepKey } from "./client.js";
import { byId, say } from "../dom.js";

/** Ask for a key, saying why; `then()` is called when there is one. */
export function askForKey(why, then) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  say(byId("key-status"), `The server says: ${why}. The key is kept until this tab is closed, and sent to this server only.`);
  byId("key-form").onsubmit = () => {
    keepKey(field.value);
    field.value = "";
    then();
  };
  if (!dialog.open) dialog.showModal();
}
