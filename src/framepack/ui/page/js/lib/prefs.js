/** What a user prefers: kept by the server for every browser, and here to be there at once. */

import { api } from "./api.js";
import { debounce } from "./state.js";
import { onStored, store, stored } from "./stored.js";

const STORED = "prefs";
/** Names that the server has not got yet, also of a page that was left before it had. */
const UNSENT = "prefs.unsent";

/** @type {Record<string, any>} */
let known = stored(STORED, {});
const unsent = new Set(stored(UNSENT, []));

// Another tab changed something.
onStored(STORED, () => { known = stored(STORED, {}); });

function keep() {
  store(STORED, known);
  store(UNSENT, [...unsent]);
}

/** Get what the server has; what it has not got from here yet stays, and is sent. */
export async function loadPrefs() {
  const found = await api.get("/preferences");
  const own = Object.fromEntries([...unsent].map((name) => [name, known[name]]));
  known = { ...found, ...own };
  keep();
  if (unsent.size) send();
}

const send = debounce(async () => {
  const names = [...unsent];
  const values = Object.fromEntries(names.map((name) => [name, known[name]]));
  try {
    // Other browsers have changed other things meanwhile.
    await api.put("/preferences", { ...(await api.get("/preferences")), ...values });
    for (const name of names) if (known[name] === values[name]) unsent.delete(name);
    keep();
  } catch (error) {
    console.warn("preferences are kept in this browser only:", error.message);
  }
}, 800);

export const prefs = {
  /** @template T @param {string} name @param {T} fallback @returns {T} */
  get: (name, fallback) => known[name] ?? fallback,
  /** @param {string} name @param {any} value undefined forgets it */
  set(name, value) {
    known = { ...known, [name]: value };
    unsent.add(name);
    keep();
    send();
  },
};
