/** What can be seen of a video now: nothing, its preview, what grows, what is left, or all of it. */

import { address } from "../lib/api.js";
import { h, icon, isStill, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { signal } from "../lib/state.js";
import { ENOUGH_S, playGrowing } from "./growing.js";

const PICTURES = /\.(gif|webp|png|jpe?g)$/i;
const PLAYED = /\.(mp4|webm|mov|m4v)$/i;

/**
 * What of a video can be shown.
 *
 * @param {any} video a VideoObject
 * @param {import("../timeline/progress.js").Progress} progress
 * @returns {{kind: "finished" | "partial" | "growing" | "preview" | "none", name: string}}
 */
function shownOf(video, progress) {
  const name = video.output?.video ?? "";
  if (video.state === "completed") return name ? { kind: "finished", name } : { kind: "none", name };
  if (video.output?.partial && video.state !== "running") return { kind: "partial", name: video.output.partial };
  if (progress.numDone > 0) return { kind: "growing", name: "" };
  return { kind: video.state === "running" && progress.preview > 0 ? "preview" : "none", name };
}

/** A place where a video plays, that keeps playing as the video becomes another. */
export class Player {
  /** @param {string} id of the video */
  constructor(id) {
    this.id = id;
    this.shown = "";
    /** Where it plays, seconds; null while nothing does. @type {ReturnType<typeof signal<number | null>>} */
    this.clock = signal(null);
    this.growing = null;
    this.hasFrames = false;
    this.preview = h("img", { class: "watch-preview-large", alt: "" });
    this.empty = h("div", { class: "watch-empty" });
    this.place = h("div", { class: "watch-stage" });
    this.element = h("div", { class: "watch-player" }, this.place);
  }

  /** @param {any} video @param {import("../timeline/progress.js").Progress} progress */
  update(video, progress) {
    const [width, height] = video.size.split("x").map(Number);
    this.element.style.setProperty("--watch-ratio", `${width} / ${height}`);
    this.element.classList.toggle("is-portrait", height > width);
    const { kind, name } = shownOf(video, progress);
    const key = kind === "finished" || kind === "partial" ? `${kind}/${name}` : kind;
    if (key !== this.shown) this.change(kind, name, video);
    this.shown = key;
    if (kind === "growing" && this.numDone !== progress.numDone) {
      this.numDone = progress.numDone;
      this.growing?.refresh();
    }
    this.showPreview(kind, progress);
    if (kind === "none") this.describe(video);
  }

  /** Before the first frames the preview is all there is; it then fills the place. */
  showPreview(kind, progress) {
    const isLarge = kind === "preview" || (kind === "growing" && !this.hasFrames && progress.preview > 0);
    if (isLarge && this.previewed !== progress.preview) {
      this.previewed = progress.preview;
      this.preview.src = address(`/videos/${this.id}/preview`, { v: progress.preview });
    }
    this.preview.hidden = !isLarge;
    this.element.classList.toggle("has-large-preview", isLarge);
  }

  change(kind, name, video) {
    const before = this.video;
    // One that never began, or came to its end, was not paused by anybody.
    const isPaused = before?.paused && !before.ended && before.played.length > 0;
    const resume = before && { time: before.currentTime, isPaused };
    this.growing?.close();
    this.growing = null;
    this.video = null;
    if (kind === "growing") this.grow(video);
    else if (kind === "finished" || kind === "partial") this.play(kind, name, resume);
    else replace(this.place, kind === "preview" ? this.preview : this.empty);
  }

  grow(video) {
    this.hasFrames = false;
    this.numDone = -1;
    this.video = h("video", { class: "watch-video", muted: true, playsInline: true, controls: true, autoplay: !isStill(), "aria-label": t("watch.video_so_far") });
    this.video.controlsList?.add("nodownload");
    const onGrown = (start, end) => {
      if (this.hasFrames || end - start < ENOUGH_S) return;
      this.hasFrames = true;
      this.preview.hidden = true;
      this.element.classList.remove("has-large-preview");
      if (!isStill()) this.video.play().catch(() => {}); // a browser may want a click first
    };
    this.tell(this.video);
    replace(this.place, this.video, this.preview);
    this.growing = playGrowing(this.video, this.id, { duration: Number(video.seconds), onGrown });
  }

  play(kind, name, resume) {
    const src = kind === "partial" ? address(`/videos/${this.id}/content`, { variant: "partial" }) : this.address(name);
    if (PICTURES.test(name)) {
      replace(this.place, h("img", { class: "watch-video", src, alt: t("watch.the_video") }));
      return;
    }
    this.video = h("video", { class: "watch-video", src, controls: true, loop: true, playsInline: true, muted: true, "aria-label": t(`watch.the_${kind === "partial" ? "partial" : "video"}`) });
    const video = this.video;
    if (resume) {
      video.addEventListener("loadedmetadata", () => { video.currentTime = Math.min(resume.time, video.duration); }, { once: true });
    }
    video.autoplay = !resume?.isPaused && !isStill();
    const failed = () => replace(this.place, h("div", { class: "watch-empty" }, icon("warning"), h("p", null, t("watch.not_played"))));
    video.addEventListener("error", failed, { once: true });
    this.tell(video);
    replace(this.place, video);
  }

  /** Kinds of files that browsers do not play come as the stream, which is H.264. */
  address(name) {
    const kind = PLAYED.test(name) || PICTURES.test(name) ? "content" : "stream";
    return address(`/videos/${this.id}/${kind}`);
  }

  describe(video) {
    const words = video.state === "completed" ? "watch.no_video" : `watch.nothing.${video.state}`;
    if (this.described === words && this.empty.isConnected) return;
    this.described = words;
    replace(this.empty, icon(video.state === "failed" ? "warning" : "video"), h("p", null, t(words)));
    if (!this.empty.isConnected) replace(this.place, this.empty);
  }

  tell(video) {
    video.addEventListener("timeupdate", () => { this.clock.value = video.currentTime; });
  }

  /** Play from a time on. @param {number} seconds */
  seek(seconds) {
    if (!this.video) return;
    this.video.currentTime = seconds;
    this.video.play().catch(() => {});
  }

  close() {
    this.growing?.close();
    this.video?.removeAttribute("src");
    this.video?.load();
  }
}
