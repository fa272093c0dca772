/** When a waiting video may begin, from what finished ones took on this machine. */

import { api } from "../lib/api.js";
import { live } from "../lib/live.js";

const MEASURED = 40;

/** How much there is to compute: pixels, times frames, times steps. */
function work(video, steps) {
  const [width, height] = video.size.split("x").map(Number);
  return Math.max(video.num_frames, 1) * width * height * steps;
}

/**
 * Learn from finished videos.
 *
 * @returns {{load: () => Promise<void>, seconds: (video: any) => number | null, close: () => void}}
 *   `seconds` is what a video may take from its start, null where nothing like it was made here
 */
export function estimates() {
  /** @type {Map<string, {rate: number, steps: number}[]>} */
  const byModel = new Map();
  const learn = (video) => {
    const stats = video.output.stats;
    if (video.state !== "completed" || !stats?.total_s || !stats.num_steps) return;
    const steps = stats.num_steps / Math.max(stats.num_sections, 1);
    const known = byModel.get(video.model) ?? [];
    known.unshift({ rate: stats.total_s / work(video, steps), steps });
    byModel.set(video.model, known.slice(0, MEASURED));
  };
  const load = async () => {
    const { data } = await api.get("/videos", { state: "completed", limit: MEASURED });
    byModel.clear();
    data.reverse().forEach(learn);
  };
  const seconds = (video) => {
    const known = byModel.get(video.model);
    if (!known?.length) return null;
    const steps = video.request.num_inference_steps ?? median(known.map((each) => each.steps));
    return median(known.map((each) => each.rate)) * work(video, steps);
  };
  return { load, seconds, close: live.on("video", learn) };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/**
 * Seconds until each waiting video may begin.
 *
 * @param {import("./store.js").QueueState} state
 * @param {(video: any) => number | null} seconds
 * @returns {Map<string, number>} without those that cannot be told
 */
export function starts(state, seconds) {
  const found = new Map();
  if (state.isPaused) return found;
  let total = 0;
  for (const video of state.running) {
    const left = video.progress_detail.seconds_left ?? seconds(video);
    if (left === null) return found;
    total += left;
  }
  for (const video of state.waiting) {
    found.set(video.id, total);
    const took = seconds(video);
    if (took === null) break;
    total += took * (1 - video.progress_detail.fraction);
  }
  return found;
}
