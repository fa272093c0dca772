/** Light or dark: as the system has it, unless the user chose. */

import { signal } from "./state.js";

const STORED = "framepack.theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

/** "system", "light" or "dark". */
export const theme = signal(localStorage.getItem(STORED) ?? "system");

/** Colour the page, now and whenever the system or the choice changes. */
export function applyTheme() {
  const paint = () => {
    const chosen = theme.value === "system" ? (system.matches ? "dark" : "light") : theme.value;
    document.documentElement.dataset.theme = chosen;
  };
  system.addEventListener("change", paint);
  theme.subscribe((name) => {
    localStorage.setItem(STORED, name);
    paint();
  }, { now: true });
}
