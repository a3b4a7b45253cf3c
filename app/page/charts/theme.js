// Light and dark: the system's choice unless the reader has made another.

import { byId, make } from "../dom.js";
import { keeper } from "../client/kept.js";

const KEPT = "eigenserve-theme";
const visits = keeper("localStorage");
const NEXT = { system: "light", light: "dark", dark: "system" };
const NAMES = { system: "as the system has them", light: "light", dark: "dark" };
const SIGNS = { system: "\u25d0", light: "\u2600\ufe0e", dark: "\u263e\ufe0e" };

const probe = make("span", { hidden: true });
const known = new Map();

/** Set up the toggle; `changed()` is called whenever the colours are others. */
export function setUpTheme(changed) {
  const button = byId("theme");
  let theme = visits.get(KEPT);
  if (!(theme in NEXT)) theme = "system";
  document.body.append(probe);
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = SIGNS[theme];
    button.title = `Colours: ${NAMES[theme]}`;
    button.setAttribute("aria-label", button.title);
    known.clear();
  };
  show();
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    visits.keep(KEPT, theme);
    show();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    known.clear();
    changed();
  });
}

/** A colour of the style sheet by its name, as a canvas takes it; kept, since asking for a style costs a layout. */
export function colour(name) {
  if (!known.has(name)) {
    probe.style.color = `var(--${name})`;
    known.set(name, getComputedStyle(probe).color);
  }
  return known.get(name);
}
