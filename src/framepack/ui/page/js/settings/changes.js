/** What was changed and is not saved. It stays while people look at other pages. */

/** @type {Map<string, any>} name to its new value; null takes it out of the file */
const pending = new Map();
/** @type {Set<() => void>} */
const readers = new Set();

function tell() {
  for (const reader of [...readers]) reader();
}

export const changes = {
  get count() {
    return pending.size;
  },
  /** @param {string} name */
  has: (name) => pending.has(name),
  /** @param {string} name */
  get: (name) => pending.get(name),
  /** @param {string} name @param {any} value */
  set(name, value) {
    pending.set(name, value);
    tell();
  },
  /** @param {string} name */
  drop(name) {
    if (pending.delete(name)) tell();
  },
  clear() {
    pending.clear();
    tell();
  },
  /** @returns {[string, any][]} */
  entries: () => [...pending],
  /** @returns {Record<string, any>} */
  values: () => Object.fromEntries(pending),
  /** @param {() => void} reader @returns {() => void} ends it */
  subscribe(reader) {
    readers.add(reader);
    return () => readers.delete(reader);
  },
};
