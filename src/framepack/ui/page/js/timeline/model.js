/** The cells of the strip: what a plan and the cues of a request come to. */

import { fullText, outside, readCues, settle } from "./cues.js";

/**
 * @typedef {object} Cell a section, in the order of the video
 * @property {number} index from the start of the video
 * @property {number} section as cues count it; negative where the frames are of a given video
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {number} frames its length, for its width
 * @property {number} turn 1 for the section that is rendered first
 * @property {import("./cues.js").Held | null} prompt
 * @property {import("./cues.js").Held | null} image
 * @property {import("./cues.js").Held | null} seed
 * @property {string} text everything that steers it
 * @property {boolean} isTrimmed nothing of it is in the video until the next one is rendered
 * @property {string | null} anchor "image" or "end_image": a picture of the video stands here
 *
 * @typedef {object} Model
 * @property {Cell[]} cells
 * @property {boolean} isInverted the end is rendered first
 * @property {number} duration seconds
 * @property {string} prompt of the whole video
 * @property {string} mode what a section's text does to it
 * @property {import("./cues.js").Grid} grid
 * @property {Record<string, import("./cues.js").Cue[]>} cues by field
 * @property {number} numOutside cues that the video has no place for
 */

/**
 * @param {any} plan `plan` of an answer of `/v1/videos/plan`
 * @param {Record<string, any>} request that is edited; its files are ids
 * @returns {Model}
 */
export function makeModel(plan, request) {
  const sections = [...plan.sections].sort((one, other) => one.index - other.index);
  const given = plan.num_given_sections ?? 0;
  const fps = plan.fps / Math.max(plan.request.interpolate ?? 1, 1);
  const lead = (plan.num_prefix_frames ?? 0) / fps;
  const origin = sections[given].start_frame;
  const grid = {
    starts: sections.slice(given).map((section) => (section.start_frame - origin) / fps),
    duration: (plan.num_kept_frames - origin) / fps,
  };
  const cues = readCues(request, plan.request);
  const held = {
    prompt: settle(cues.section_prompts, "prompt", grid),
    image: settle(cues.section_images, "image", grid),
    seed: settle(cues.section_seeds, "seed", grid),
  };
  const prompt = request.prompt ?? "";
  const mode = request.section_mode ?? "append";
  const cells = sections.map((section, index) => {
    const own = index - given;
    const own_ = (kind) => held[kind][own] ?? null;
    return {
      index,
      section: own,
      start: lead + section.start_frame / fps,
      end: lead + section.end_frame / fps,
      frames: Math.max(section.end_frame - section.start_frame, 1),
      turn: section.render_index + 1,
      prompt: own_("prompt"),
      image: own_("image"),
      seed: own_("seed"),
      text: own < 0 ? "" : fullText(prompt, own_("prompt")?.value, mode),
      isTrimmed: section.render_index === 0 && isTrimmed(plan),
      anchor: anchor(plan, index, sections.length),
    };
  });
  const numOutside = Object.values(cues).flatMap((list) => outside(list, grid)).length;
  const duration = cells.at(-1).end;
  return { cells, isInverted: plan.variant === "bi-directional", duration, prompt, mode, grid, cues, numOutside };
}

/** Whether the video ends before the frames that its first-rendered section decodes to by itself. */
function isTrimmed(plan) {
  const decoded = 4 * plan.latent_window_size - 3;
  return plan.variant === "bi-directional" && plan.num_kept_frames <= plan.num_generated_frames - decoded;
}

/** Which of the video's own pictures a section begins or ends with. */
function anchor(plan, index, count) {
  const ends = plan.mode === "flf2v" || plan.mode === "lf2v";
  if (index === 0 && (plan.mode === "i2v" || plan.mode === "flf2v") && plan.request.image) return "image";
  if (index === count - 1 && ends) return plan.request.loop ? "image" : "end_image";
  return null;
}

/**
 * Stretches over which one value holds: bars under the strip.
 *
 * @param {Cell[]} cells
 * @param {import("./cues.js").Kind} kind
 * @returns {{first: number, until: number, value: any}[]} by index of cells
 */
export function stretches(cells, kind) {
  const found = [];
  for (const cell of cells) {
    const held = cell[kind];
    const last = found.at(-1);
    if (!held) continue;
    if (last && last.until === cell.index && last.from === held.from) last.until = cell.index + 1;
    else found.push({ first: cell.index, until: cell.index + 1, from: held.from, value: held.value });
  }
  return found;
}
