/** What this browser keeps for the page, also when it is left. */

import { on } from "./dom.js";
import { t } from "./i18n.js";
import { notify } from "./notify.js";

const OURS = "framepack.";
let isTold = false;

/**
 * What is kept under a name.
 *
 * @template T
 * @param {string} name
 * @param {T} fallback where there is nothing, or nothing that can be read
 * @returns {T}
 */
export function stored(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(OURS + name) ?? "null") ?? fallback;
  } catch {
    return fallback;
  }
}

/** Keep a value; where there is no room for it, people are told once. @param {string} name @param {any} value undefined forgets it */
export function store(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(OURS + name);
    else localStorage.setItem(OURS + name, JSON.stringify(value));
  } catch (error) {
    console.warn(error.message);
    if (!isTold) notify.error(t("shell.not_stored"));
    isTold = true;
  }
}

/** Hear that another tab keeps something else. @param {string} name @param {() => void} handler @returns {() => void} ends it */
export function onStored(name, handler) {
  return on(window, "storage", (event) => event.key === OURS + name && handler());
}

/** Forget everything. */
export function forgetStored() {
  for (const name of Object.keys(localStorage)) if (name.startsWith(OURS)) localStorage.removeItem(name);
}
