/** What would be made of the draft, asked of the server whenever it changes. */

import { api } from "./api.js";
import { draft } from "./draft.js";
import { live } from "./live.js";
import { debounce, signal } from "./state.js";

/**
 * @typedef {object} Planned
 * @property {"idle" | "planning" | "ready" | "error"} state
 * @property {any} answer the last good answer of `/v1/videos/plan`, or null
 * @property {any} error an ApiError, or null
 */

/** @type {ReturnType<typeof signal<Planned>>} */
export const plan = signal({ state: "idle", answer: null, error: null });

/** @type {AbortController | null} */
let current = null;

async function ask() {
  current?.abort();
  const mine = new AbortController();
  current = mine;
  plan.value = { ...plan.value, state: "planning" };
  try {
    const answer = await api.post("/videos/plan", body(), { signal: mine.signal });
    plan.value = { state: "ready", answer, error: null };
  } catch (error) {
    if (error.name === "AbortError") return;
    plan.value = { state: "error", answer: plan.value.answer, error };
  }
}

/** The draft as routes take it. */
export function body() {
  return { ...draft.request.value, ...draft.options.value };
}

const later = debounce(ask, 300);
let isWatched = false;

/** Begin to plan the draft, now and at every change. */
export function watchDraft() {
  if (isWatched) return;
  isWatched = true;
  draft.request.subscribe(later);
  draft.options.subscribe(later);
  live.on("connected", (isThere) => isThere && plan.value.state === "error" && later());
  later();
}
