/** Lists whose elements stay while what they show changes, so that focus and playback survive. */

/**
 * @typedef {object} Row
 * @property {any} element
 * @property {(item: any) => void} update
 * @property {() => void} [remove] called when it leaves
 */

/**
 * Show items in an element, one child each, in their order.
 *
 * @template T
 * @param {Element} parent
 * @param {(item: T) => string} keyOf what stays the same of an item
 * @param {(item: T) => Row} make
 * @returns {{show: (items: T[]) => void, get: (key: string) => Row | undefined, clear: () => void}}
 */
export function keyed(parent, keyOf, make) {
  /** @type {Map<string, Row>} */
  const rows = new Map();
  const drop = (key, row) => {
    row.remove?.();
    row.element.remove();
    rows.delete(key);
  };
  const show = (items) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, row] of [...rows]) if (!keys.has(key)) drop(key, row);
    for (const item of items) {
      const known = rows.get(keyOf(item));
      if (known) known.update(item);
      else rows.set(keyOf(item), make(item));
    }
    place(parent, items.map((item) => rows.get(keyOf(item)).element));
  };
  const clear = () => show([]);
  return { show, clear, get: (key) => rows.get(key) };
}

/** Put children in an order; what stands right stays untouched, and the focus stays where it is. */
function place(parent, elements) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let next = parent.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus();
}
