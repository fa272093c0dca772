/** How far a video is: the whole, the section at work and its steps, with speed and memory. */

import { api } from "../lib/api.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { duration, gb, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { live } from "../lib/live.js";

const TICK_MS = 1000;

/**
 * Seconds of a step and of a frame, as measured.
 *
 * @param {any} video
 * @param {import("../timeline/progress.js").Progress} progress
 * @returns {{step: number | null, frame: number | null}}
 */
function speedOf(video, progress) {
  const stats = video.output?.stats;
  if (video.state === "completed" && stats) {
    return { step: stats.num_steps ? stats.step_s : null, frame: stats.num_frames ? stats.total_s / stats.num_frames : null };
  }
  const { stepSeconds, sections, plan } = progress;
  const step = stepSeconds.length ? stepSeconds.reduce((sum, each) => sum + each, 0) / stepSeconds.length : null;
  const done = (plan?.sections ?? []).filter((section) => sections[section.index]?.state === "done");
  const frames = done.reduce((sum, section) => sum + section.end_frame - section.start_frame, 0);
  const seconds = done.reduce((sum, section) => sum + sections[section.index].seconds, 0);
  return { step, frame: frames ? seconds / frames : null };
}

/** Progress that is drawn again and again in one element. */
export class StatusView {
  constructor() {
    this.line = h("p", { class: "watch-line", role: "status" });
    this.whole = bar(t("watch.whole"));
    this.section = bar(t("watch.section_at_work"));
    this.facts = h("dl", { class: "watch-facts" });
    this.error = h("div", { class: "note danger watch-error", role: "alert", hidden: true });
    this.element = h("div", { class: "watch-status stack tight" }, this.line, this.error, this.whole.element, this.section.element, this.facts);
    this.worker = null;
    this.offs = [live.on("worker", (worker) => { this.worker = worker; this.tick(); })];
    // Only operators may ask; others see no memory.
    api.get("/worker").then((worker) => { this.worker = worker; this.tick(); }, () => {});
    this.timer = window.setInterval(() => this.tick(), TICK_MS);
  }

  /** @param {any} video @param {import("../timeline/progress.js").Progress} progress */
  update(video, progress) {
    this.video = video;
    this.progress = progress;
    const isRunning = video.state === "running";
    const words = lineOf(video, progress);
    if (this.line.textContent !== words) this.line.textContent = words;
    this.error.hidden = !(video.state === "failed" && video.error);
    if (!this.error.hidden) replace(this.error, icon("warning"), " ", video.error.message);
    const { fraction } = video.progress_detail;
    this.whole.show(isRunning || video.state === "paused", fraction, t("watch.percent", { percent: Math.floor(fraction * 100) }));
    const own = isRunning ? progress.sections[progress.current] : null;
    const at = own?.state === "rendering" ? own : null;
    this.section.show(isRunning, at ? at.step / at.numSteps : 0, at ? t("watch.steps", { step: at.step, steps: at.numSteps }) : "");
    this.tick();
  }

  tick() {
    if (!this.video) return;
    const facts = factsOf(this.video, this.progress, this.worker);
    const key = JSON.stringify(facts);
    if (key === this.drawn) return;
    this.drawn = key;
    replace(this.facts, facts.map(([name, value]) => h("div", null, h("dt", null, t(`watch.fact.${name}`)), h("dd", null, value))));
  }

  close() {
    clearInterval(this.timer);
    this.offs.forEach((off) => off());
  }
}

function bar(label) {
  const id = uniqueId("bar");
  const progress = h("progress", { max: 1, value: 0, "aria-labelledby": id });
  const words = h("span", { class: "watch-bar-words" });
  const element = h("div", { class: "watch-bar", hidden: true }, h("span", { id, class: "watch-bar-label" }, label), progress, words);
  const show = (isShown, value, text) => {
    element.hidden = !isShown;
    progress.value = value;
    words.textContent = text;
  };
  return { element, show };
}

function lineOf(video, progress) {
  const { state, progress_detail: detail } = video;
  if (state !== "running") return t(`watch.line.${state}`);
  if (!progress.stage || progress.stage === "load") return t("watch.line.loading");
  if (progress.current === null || progress.stage === "encode") return t(`watch.stage.${progress.stage}`);
  const place = { n: progress.current, turn: Math.min(detail.section + 1, detail.num_sections), count: detail.num_sections };
  return t(`watch.line.${progress.stage}`, place);
}

/** Names and values of what is measured. */
function factsOf(video, progress, worker) {
  const facts = [];
  const { step, frame } = speedOf(video, progress);
  const { seconds_left: left } = video.progress_detail;
  const stats = video.state === "completed" ? video.output?.stats : null;
  if (video.state === "running") {
    facts.push(["left", left === null ? t("watch.not_yet") : t("watch.about", { time: duration(left) })]);
    if (video.started_at) facts.push(["elapsed", duration(Math.max(Math.round(Date.now() / 1000 - video.started_at), 0))]);
  }
  if (stats) facts.push(["took", duration(stats.total_s)]);
  if (step !== null) facts.push(["step", t("watch.seconds", { value: number(step, step < 1 ? 2 : 1) })]);
  if (frame !== null) facts.push(["frame", t("watch.seconds", { value: number(frame, frame < 1 ? 3 : 1) })]);
  const device = stats ? stats.peak_device_gb : worker?.device_memory_gb;
  const host = stats ? stats.peak_host_gb : worker?.host_memory_gb;
  const isMeasured = stats || video.state === "running";
  if (isMeasured && typeof device === "number") facts.push(["device_memory", gb(device)]);
  if (isMeasured && typeof host === "number") facts.push(["host_memory", gb(host)]);
  return facts;
}
