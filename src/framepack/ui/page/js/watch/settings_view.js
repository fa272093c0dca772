/** What a video was asked for with: the labels are the schema's. */

import { address } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { dateTime, duration, number } from "../lib/format.js";
import { fieldTitle, t } from "../lib/i18n.js";
import { schema } from "../lib/schema.js";

const PICTURES = new Set(["image", "end_image"]);
const UNSHOWN = new Set(["prompt", "enhanced_prompts"]);

/**
 * A list of settings.
 *
 * @param {any} video a VideoObject
 * @returns {HTMLElement}
 */
export function settingsView(video) {
  const rows = [...factsOf(video), ...requestRows(video)];
  return h(
    "dl",
    { class: "watch-settings" },
    rows.map(([title, value]) => h("div", null, h("dt", null, title), h("dd", null, value))),
  );
}

/** What is true of the video, given or not. */
function factsOf(video) {
  const facts = [
    [t("watch.fact.length"), `${duration(Number(video.seconds))} · ${t("watch.frames", { count: number(video.num_frames) })}`],
    [t("watch.fact.size"), `${video.size.replace("x", " × ")} px · ${t("watch.fps", { fps: number(video.fps, 3) })}`],
    [t("watch.fact.model"), video.model],
    [t("watch.fact.variant"), video.variant],
    [t("watch.fact.seed"), String(video.seed)],
    [t("watch.fact.created"), dateTime(video.created_at)],
  ];
  if (video.options?.group) facts.push([t("watch.fact.group"), [video.options.group, video.options.label].filter(Boolean).join(" · ")]);
  return facts;
}

const IN_FACTS = new Set(["seed", "model", "variant", "fps", "duration_s", "width", "height"]);

/** Every other field that was given. */
function requestRows(video) {
  return Object.entries(video.request)
    .filter(([name, value]) => !UNSHOWN.has(name) && !IN_FACTS.has(name) && isSaid(value))
    .map(([name, value]) => [titleOf(name), shown(video, name, value)]);
}

function isSaid(value) {
  return value !== null && value !== "" && !(Array.isArray(value) && value.length === 0);
}

/** The label of a field; a newer server may have fields that this page has no words for. @param {string} name */
export function titleOf(name) {
  try {
    return fieldTitle(schema.field(name));
  } catch {
    return name;
  }
}

function shown(video, name, value) {
  if (PICTURES.has(name)) return h("img", { class: "watch-input", src: address(`/videos/${video.id}/inputs/${name}`), alt: String(value) });
  if (name.startsWith("section_") && Array.isArray(value)) return cues(video, name, value);
  if (name === "loras") return h("ul", null, value.map((lora) => h("li", null, `${lora.path ?? lora} ${lora.weight ?? ""}`)));
  return valueText(value);
}

/** A value in words. @param {any} value */
export function valueText(value) {
  if (typeof value === "boolean") return t(value ? "watch.yes" : "watch.no");
  if (typeof value === "number") return number(value, 4).length > 16 ? String(value) : String(value);
  if (Array.isArray(value)) return value.map(valueText).join(", ");
  if (value && typeof value === "object") {
    return Object.entries(value).filter(([, each]) => isSaid(each)).map(([key, each]) => `${key}: ${valueText(each)}`).join(", ");
  }
  return String(value ?? "");
}

function cues(video, name, list) {
  const row = (cue, place) => {
    const picture = cue.image && h("img", { class: "watch-input small", src: address(`/videos/${video.id}/inputs/${name}-${place}`), alt: cue.image });
    const words = [cue.prompt, cue.seed === null || cue.seed === undefined ? null : t("timeline.seed_is", { seed: cue.seed }), cue.loras && valueText(cue.loras)];
    return h("li", null, h("b", null, placeOf(cue)), " ", words.filter(Boolean).join(", "), picture);
  };
  return h("ul", { class: "watch-cues" }, list.map(row));
}

/** Where a cue holds, in words. @param {any} cue */
export function placeOf(cue) {
  if (cue.every) return t(`watch.place.${cue.every}`);
  if (typeof cue.line === "number") return t("watch.place.line", { n: cue.line + 1, count: cue.num_lines });
  if (typeof cue.time_s === "number") return t("watch.place.time", { time: duration(cue.time_s) });
  const first = cue.section ?? 0;
  const last = typeof cue.until_section === "number" ? cue.until_section - 1 : null;
  return last === null || last === first ? t("timeline.section", { n: first }) : t("watch.place.range", { first, last });
}

/** The prompt, at its full length. @param {any} video */
export function promptView(video) {
  const copy = () => navigator.clipboard?.writeText(video.prompt);
  return h(
    "div",
    { class: "watch-prompt" },
    h("p", null, video.prompt || h("span", { class: "muted" }, t("watch.no_prompt"))),
    video.prompt && navigator.clipboard && h("button", { class: "button quiet small icon-only", type: "button", "aria-label": t("watch.copy_prompt"), title: t("watch.copy_prompt"), onclick: copy }, icon("copy")),
  );
}
