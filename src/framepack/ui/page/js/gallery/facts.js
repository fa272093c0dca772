/** What lists say of a video, in words. */

import { address } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { duration, number } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";

const BADGES = {
  queued: ["", "clock"],
  paused: ["warn", "pause"],
  running: ["accent", "play"],
  completed: ["ok", "check"],
  failed: ["danger", "warning"],
  cancelled: ["", "stop"],
};
const MOVING_PICTURES = /\.(gif|webp|png|jpg|avif)$/i;

/** The prompt, or what there is in its place. */
export function promptOf(video) {
  const cues = Array.isArray(video.request.section_prompts) ? video.request.section_prompts : [];
  const first = cues.map((cue) => cue.prompt ?? "").find(Boolean);
  return video.prompt || first || t("gallery.no_prompt");
}

/** A short name for labels and messages. */
export function nameOf(video) {
  const prompt = promptOf(video);
  const words = prompt.length > 60 ? `${prompt.slice(0, 57)}…` : prompt;
  return video.label ? `${video.label} (${words})` : words;
}

/** A badge with the state: sign and word. */
export function stateBadge(video) {
  const [kind, sign] = BADGES[video.state];
  return h("span", { class: `badge ${kind}` }, icon(sign), t(`gallery.state.${video.state}`));
}

/** Steps of each section, or null where the model decides and has not yet. */
function stepsOf(video) {
  return video.request.num_inference_steps ?? (video.progress_detail.num_steps || null);
}

/** "128 × 128". */
function sizeOf(video) {
  return video.size.replace("x", " × ");
}

/** Length in words; a picture has none. */
export function lengthOf(video) {
  return video.request.one_frame ? t("gallery.picture") : duration(Number(video.seconds));
}

/** Pairs of a word and its value: what a video was made with. */
export function settingsOf(video) {
  const steps = stepsOf(video);
  return [
    [t("gallery.seed"), String(video.seed)],
    [t("gallery.steps"), steps === null ? t("gallery.models_own") : number(steps)],
    [t("gallery.size"), sizeOf(video)],
    [t("gallery.length"), lengthOf(video)],
    [t("gallery.model"), `${video.model}, ${t(`gallery.variant.${video.variant}`)}`],
  ];
}

/** One line: "1 s · 128 × 128 · seed 5 · 2 steps"; the label of one of a group says what differs. */
export function factsLine(video) {
  if (video.label) return [video.label, lengthOf(video), sizeOf(video)].join(" · ");
  const steps = stepsOf(video);
  const parts = [lengthOf(video), sizeOf(video), t("gallery.seed_is", { seed: video.seed })];
  if (steps !== null) parts.push(tn("gallery.num_steps", steps));
  return parts.join(" · ");
}

/** The finished file, or the part of it that was kept, or null. */
export function contentOf(video) {
  const { output } = video;
  if (output.video) return fileFacts(video, output.video, null);
  return output.partial ? fileFacts(video, output.partial, "partial") : null;
}

function fileFacts(video, name, variant) {
  const is = MOVING_PICTURES.test(name) ? "picture" : "video";
  const at = `/videos/${video.id}/content`;
  return { is, url: address(at, { variant }), download: address(at, { variant, download: true }) };
}

/** A still: the thumbnail, else the picture it starts from, else null. */
export function stillOf(video) {
  if (video.output.thumbnail) return address(`/videos/${video.id}/content`, { variant: "thumbnail" });
  return video.request.image ? address(`/videos/${video.id}/inputs/image`) : null;
}
