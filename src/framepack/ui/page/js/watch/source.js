/** One video as the server knows it, kept up to date until nobody looks any more. */

import { api } from "../lib/api.js";
import { live, newest } from "../lib/live.js";
import { report } from "../lib/notify.js";
import { signal } from "../lib/state.js";
import { follow } from "../timeline/progress.js";

const ENDED = new Set(["completed", "failed", "cancelled"]);
const ASK_MS = 700;

/** Whether nothing happens to a video by itself any more. @param {any} video */
export function hasEnded(video) {
  return ENDED.has(video.state);
}

/**
 * @typedef {object} Source
 * @property {ReturnType<typeof signal<any>>} video a VideoObject; null once it is deleted
 * @property {ReturnType<typeof signal<import("../timeline/progress.js").Progress>>} progress
 * @property {ReturnType<typeof signal<any>>} plan as lib/plan.js has it, for the timeline
 * @property {() => Promise<void>} refresh
 * @property {() => void} close
 */

/**
 * Look at a video.
 *
 * @param {string} id
 * @returns {Promise<Source>}
 * @throws {import("../lib/api.js").ApiError} there is no such video
 */
export async function openSource(id) {
  const [first, answer] = await Promise.all([api.get(`/videos/${id}`), api.get(`/videos/${id}/plan`)]);
  const video = signal(first);
  const plan = signal({ state: "ready", answer, error: null });
  const followed = follow(id, first.state === "queued" && !first.progress_detail.section);
  const refresh = async () => {
    try {
      [video.value] = await newest(async () => [await api.get(`/videos/${id}`)]);
    } catch (error) {
      if (error.status === 404) video.value = null;
      else if (error.status !== 0) report(error);
    }
  };
  const soon = atMostEvery(ASK_MS, refresh);
  let known = followed.progress.value;
  const offs = [
    live.on("video", (next) => { if (next.id === id) video.value = next; }),
    live.on("deleted", (gone) => { if (gone.id === id) video.value = null; }),
    live.on("connected", (isThere) => isThere && refresh()),
    followed.progress.subscribe((next) => {
      // The log of the video itself comes first, and comes even where the other stream is lost.
      if (next.last !== known.last || next.numDone !== known.numDone || !live.isConnected) soon();
      known = next;
    }),
  ];
  const close = () => {
    soon.cancel();
    offs.forEach((off) => off());
    followed.close();
  };
  return { video, progress: followed.progress, plan, refresh, close };
}

/** A function that runs at once, then at most every so often, and at last once more. */
function atMostEvery(milliseconds, work) {
  let timer = 0;
  let isWanted = false;
  const run = () => {
    timer = window.setTimeout(() => {
      timer = 0;
      if (isWanted) run();
    }, milliseconds);
    isWanted = false;
    work();
  };
  const ask = () => {
    if (timer) isWanted = true;
    else run();
  };
  ask.cancel = () => {
    clearTimeout(timer);
    isWanted = false;
  };
  return ask;
}
