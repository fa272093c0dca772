/** What was entered on this page; it outlives the page. */

const STORED = "framepack.batch";

/**
 * Values under a name, kept in this browser.
 *
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @returns {{value: T, change: (part: Partial<T>) => void}}
 */
export function kept(name, fallback) {
  const all = () => {
    try {
      return JSON.parse(localStorage.getItem(STORED) ?? "{}");
    } catch {
      return {};
    }
  };
  const state = { value: { ...fallback, ...all()[name] }, change };
  function change(part) {
    state.value = { ...state.value, ...part };
    localStorage.setItem(STORED, JSON.stringify({ ...all(), [name]: state.value }));
  }
  return state;
}
