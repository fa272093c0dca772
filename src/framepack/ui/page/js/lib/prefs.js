/** What a user prefers: kept by the server for every browser, and here to be there at once. */

import { api } from "./api.js";
import { debounce } from "./state.js";

const STORED = "framepack.prefs";

/** @type {Record<string, any>} */
let known = read();
const changed = new Set();

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}

/** Get what the server has; what was changed here meanwhile stays. */
export async function loadPrefs() {
  const { values } = asValues(await api.get("/preferences"));
  const own = Object.fromEntries([...changed].map((name) => [name, known[name]]));
  known = { ...values, ...own };
  localStorage.setItem(STORED, JSON.stringify(known));
}

function asValues(answer) {
  return { values: answer.values ?? answer };
}

const send = debounce(async () => {
  try {
    await api.put("/preferences", known);
    changed.clear();
  } catch (error) {
    console.warn("preferences are kept in this browser only:", error.message);
  }
}, 800);

export const prefs = {
  /** @template T @param {string} name @param {T} fallback @returns {T} */
  get: (name, fallback) => known[name] ?? fallback,
  /** @param {string} name @param {any} value undefined forgets it */
  set(name, value) {
    if (value === undefined) delete known[name];
    else known[name] = value;
    changed.add(name);
    localStorage.setItem(STORED, JSON.stringify(known));
    send();
  },
};
