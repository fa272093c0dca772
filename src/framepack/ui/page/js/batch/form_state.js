/** What was entered on this page; it outlives the page. */

import { store, stored } from "../lib/stored.js";

const STORED = "batch";

/**
 * Values under a name, kept in this browser.
 *
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @returns {{value: T, change: (part: Partial<T>) => void}}
 */
export function kept(name, fallback) {
  const all = () => stored(STORED, {});
  const state = { value: { ...fallback, ...all()[name] }, change };
  function change(part) {
    state.value = { ...state.value, ...part };
    store(STORED, { ...all(), [name]: state.value });
  }
  return state;
}
