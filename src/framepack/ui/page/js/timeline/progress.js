/** How far each section of a video is: from its log, which tells everything from the beginning. */

import { videoEvents } from "../lib/live.js";
import { signal } from "../lib/state.js";

/**
 * @typedef {object} SectionState
 * @property {"waiting" | "rendering" | "done"} state
 * @property {number} step steps done
 * @property {number} numSteps
 * @property {number} seconds it took; 0 until it is done
 *
 * @typedef {object} Progress
 * @property {any} plan as the run began with it, or null
 * @property {Record<number, SectionState>} sections by index from the start of the video
 * @property {number | null} current section at work
 * @property {string} stage "", load, encode, denoise, decode or write
 * @property {number} preview grows with each new preview
 * @property {number | null} previewed section that the newest preview is of
 * @property {number} numDone sections rendered: grows when there is more to play
 * @property {number[]} stepSeconds of the newest steps
 * @property {any} last the newest event of the job itself: Queued, Paused, Failed …
 */

/** @returns {Progress} */
function nothingYet() {
  return { plan: null, sections: {}, current: null, stage: "", preview: 0, previewed: null, numDone: 0, stepSeconds: [], last: null };
}

const REMEMBERED_STEPS = 12;

/**
 * Progress after one more event; the argument stays as it is.
 *
 * @param {Progress} before
 * @param {string} kind
 * @param {any} data
 * @returns {Progress}
 */
export function after(before, kind, data) {
  if (kind === "Planned") return { ...before, plan: data.plan };
  if (kind === "StageStarted") return { ...before, stage: data.stage, current: data.section ?? before.current };
  if (kind === "StepDone") {
    const own = { state: "rendering", step: data.step, numSteps: data.num_steps, seconds: 0 };
    return {
      ...before,
      current: data.section,
      sections: { ...before.sections, [data.section]: own },
      preview: before.preview + (data.preview ? 1 : 0),
      previewed: data.preview ? data.section : before.previewed,
      stepSeconds: [...before.stepSeconds.slice(1 - REMEMBERED_STEPS), data.seconds],
    };
  }
  if (kind === "SectionDone") {
    const steps = before.sections[data.section]?.numSteps ?? 0;
    const own = { state: "done", step: steps, numSteps: steps, seconds: data.seconds };
    return { ...before, sections: { ...before.sections, [data.section]: own }, numDone: before.numDone + 1 };
  }
  if (kind === "Finished") return { ...before, current: null };
  const isResting = kind === "Paused" || kind === "Cancelled" || kind === "Failed";
  return { ...before, last: { kind, ...data }, ...(isResting ? { current: null, stage: "" } : {}) };
}

/** @type {Map<string, {readers: number, progress: ReturnType<typeof signal<Progress>>, close: () => void}>} */
const followed = new Map();

/**
 * Follow a video; all who follow the same one share a connection.
 *
 * @param {string} id
 * @param {boolean} [isWaiting] nothing has happened to it yet
 * @returns {{progress: ReturnType<typeof signal<Progress>>, close: () => void}}
 */
export function follow(id, isWaiting = false) {
  const shared = followed.get(id) ?? begin(id, isWaiting);
  shared.readers += 1;
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    shared.readers -= 1;
    if (shared.readers > 0) return;
    shared.close();
    followed.delete(id);
  };
  return { progress: shared.progress, close };
}

function begin(id, isWaiting) {
  const progress = signal(nothingYet());
  let newest = progress.value;
  let frame = 0;
  const show = () => {
    frame = 0;
    progress.value = newest;
  };
  const hear = (kind, data) => {
    newest = after(newest, kind, data);
    // A log of thousands of lines is drawn once. Tabs in the background draw nothing.
    frame ||= document.hidden ? window.setTimeout(show, 250) : requestAnimationFrame(show);
  };
  const shared = { readers: 0, progress, close: videoEvents(id, hear, isWaiting) };
  followed.set(id, shared);
  return shared;
}
