/** Values that tell when they change. */

/**
 * @template T
 * @param {T} first
 */
export function signal(first) {
  let current = first;
  /** @type {Set<(value: T) => void>} */
  const readers = new Set();
  return {
    get value() {
      return current;
    },
    set value(next) {
      if (Object.is(next, current)) return;
      current = next;
      for (const reader of [...readers]) reader(next);
    },
    /**
     * Call a function at every change, and now if asked.
     *
     * @param {(value: T) => void} reader
     * @param {{now?: boolean}} [options]
     * @returns {() => void} ends it
     */
    subscribe(reader, { now = false } = {}) {
      readers.add(reader);
      if (now) reader(current);
      return () => readers.delete(reader);
    },
  };
}

/** A function that runs once things have been quiet for a while. */
export function debounce(work, milliseconds) {
  let timer = 0;
  const later = (...given) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => work(...given), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
