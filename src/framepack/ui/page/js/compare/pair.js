/** Two videos that play as one. */

import { address } from "../lib/api.js";
import { h, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { signal } from "../lib/state.js";

const APART_S = 0.05;

/** Two players side by side or one over the other; the first leads, the second keeps up. */
export class Pair {
  /** @param {any[]} videos two finished VideoObjects */
  constructor(videos) {
    this.fps = Math.max(...videos.map((video) => video.fps));
    /** The longer one's end, seconds. */
    this.duration = Math.max(...videos.map((video) => Number(video.seconds)));
    this.time = signal(0);
    this.isPlaying = signal(false);
    this.frame = 0;
    const [one, other] = videos.map((video, index) => player(video, index));
    this.players = [one, other].sort((a, b) => b.seconds - a.seconds);
    const id = uniqueId("wipe");
    this.wipe = h("input", { id, type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": t("compare.wipe"), oninput: () => this.setWipe(this.wipe.value) });
    this.figures = h("div", { class: "compare-figures" }, one.figure, other.figure, h("div", { class: "compare-line", "aria-hidden": "true" }));
    const [width, height] = videos[0].size.split("x").map(Number);
    this.figures.style.setProperty("--compare-ratio", `${width} / ${height}`);
    this.figures.style.setProperty("--compare-wide", String(width / height));
    this.wipeField = h("div", { class: "compare-wipe" }, h("span", { "aria-hidden": "true" }, "A"), this.wipe, h("span", { "aria-hidden": "true" }, "B"));
    this.element = h("div", { class: "compare-pair" }, this.figures, this.wipeField);
    this.setWipe(50);
    this.lead.addEventListener("play", () => this.run());
    this.lead.addEventListener("seeked", () => this.tell());
    this.lead.addEventListener("loadedmetadata", () => this.tell());
  }

  /** The longer video, whose time both have. */
  get lead() {
    return this.players[0].video;
  }

  get follower() {
    return this.players[1].video;
  }

  /** @param {string} name side or over */
  setLayout(name) {
    this.element.dataset.layout = name;
    this.wipeField.hidden = name !== "over";
  }

  setWipe(percent) {
    this.figures.style.setProperty("--compare-wipe", `${percent}%`);
    this.wipe.setAttribute("aria-valuetext", t("compare.wipe_text", { percent }));
  }

  toggle() {
    if (this.isPlaying.value) this.pause();
    else this.play();
  }

  async play() {
    if (this.lead.currentTime >= this.duration - 1 / this.fps) this.seek(0);
    this.isPlaying.value = true;
    await Promise.allSettled([this.lead.play(), this.follower.play()]);
  }

  pause() {
    this.isPlaying.value = false;
    this.lead.pause();
    this.follower.pause();
    this.align();
    this.tell();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const time = Math.min(Math.max(seconds, 0), this.duration);
    this.lead.currentTime = Math.min(time, this.lead.duration || time);
    this.align(time);
    this.time.value = time;
  }

  /** By frames of the one with more of them. @param {number} frames */
  step(frames) {
    if (this.isPlaying.value) this.pause();
    // The middle of a frame, so that rounding never shows its neighbour.
    const now = Math.floor(this.lead.currentTime * this.fps + 1e-3);
    this.seek((now + frames + 0.5) / this.fps);
  }

  align(time = this.lead.currentTime) {
    const end = this.follower.duration || time;
    const wanted = Math.min(time, Math.max(end - 0.5 / this.fps, 0));
    if (Math.abs(this.follower.currentTime - wanted) > 1e-3) this.follower.currentTime = wanted;
  }

  /** While it plays: keep the second in step, and begin again at the end. */
  run() {
    cancelAnimationFrame(this.frame);
    const tick = () => {
      if (!this.isPlaying.value) return;
      const { lead, follower } = this;
      if (lead.ended) {
        this.seek(0);
        lead.play().catch(() => {});
        follower.play().catch(() => {});
      } else if (!follower.ended && Math.abs(lead.currentTime - follower.currentTime) > APART_S) this.align();
      this.tell();
      this.frame = requestAnimationFrame(tick);
    };
    tick();
  }

  tell() {
    this.time.value = this.lead.currentTime;
  }

  close() {
    this.isPlaying.value = false;
    cancelAnimationFrame(this.frame);
    for (const { video } of this.players) {
      video.removeAttribute("src");
      video.load();
    }
  }
}

function player(video, index) {
  const letter = "AB"[index];
  const kind = /\.(mp4|webm|mov|m4v)$/i.test(video.output.video) ? "content" : "stream";
  const element = h("video", { src: address(`/videos/${video.id}/${kind}`), muted: true, playsInline: true, preload: "auto", "aria-label": t("compare.video", { letter }) });
  const caption = h("figcaption", null, h("span", { class: "badge accent" }, letter), h("a", { href: `#/video/${video.id}` }, video.label || video.prompt || t("compare.untitled")));
  return { video: element, figure: h("figure", { class: `compare-figure is-${letter.toLowerCase()}` }, element, caption), seconds: Number(video.seconds) };
}
