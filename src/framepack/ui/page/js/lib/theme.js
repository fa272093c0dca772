/** Light or dark: as the system has it, unless the user chose. The style sheet does the rest. */

import { signal } from "./state.js";

const STORED = "framepack.theme";

/** "system", "light" or "dark". */
export const theme = signal(localStorage.getItem(STORED) ?? "system");

/** Colour the page, now and whenever the choice changes. */
export function applyTheme() {
  theme.subscribe((name) => {
    localStorage.setItem(STORED, name);
    document.documentElement.dataset.theme = name;
  }, { now: true });
}
