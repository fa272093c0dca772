/** A video at work, in place: it plays as it grows, tells how far it is, and can be stopped. */

import { address } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { live } from "../lib/live.js";
import { timeline } from "../timeline/timeline.js";
import { controls } from "./controls.js";
import { Player } from "./player.js";
import { openSource } from "./source.js";
import { stateBadge } from "../gallery/facts.js";
import { StatusView } from "./status_view.js";

/**
 * Show a video in an element, from whatever it is now to its end.
 *
 * @param {HTMLElement} element that it fills
 * @param {string} videoId
 * @returns {() => void} ends it
 */
export function watchPanel(element, videoId) {
  let end = () => {};
  let isOver = false;
  const open = async () => {
    const source = await openSource(videoId);
    if (isOver) return source.close();
    const panel = buildPanel(source, videoId, { withLink: true });
    replace(element, panel.element);
    end = () => {
      panel.close();
      source.close();
    };
    return undefined;
  };
  const fail = (error) => {
    if (isOver) return;
    replace(element, h("p", { class: "note danger", role: "alert" }, error.message));
    if (error.status !== 0) return;
    const off = live.on("connected", (isThere) => { // the server is back
      if (!isThere) return;
      off();
      open().catch(fail);
    });
    end = off;
  };
  replace(element, h("p", { class: "muted" }, t("shell.loading")));
  open().catch(fail);
  return () => {
    isOver = true;
    end();
    replace(element);
  };
}

/**
 * The panel of a video that is looked at.
 *
 * @param {import("./source.js").Source} source
 * @param {string} id
 * @param {{withLink?: boolean, onSection?: (index: number) => void, below?: HTMLElement}} [options] `withLink` leads
 *   to the video's own page; `below` stands between the player and the timeline
 * @returns {{element: HTMLElement, player: Player, close: () => void}}
 */
export function buildPanel(source, id, { withLink = false, onSection, below } = {}) {
  const player = new Player(id);
  const status = new StatusView();
  const buttons = controls(source, id);
  const badge = h("span");
  const now = previewOf(id);
  const strip = h("div", { class: "watch-timeline" });
  const link = withLink && h("a", { class: "button quiet small", href: `#/video/${id}` }, t("watch.open_page"), icon("right"));
  const head = withLink && h("div", { class: "row apart" }, badge, link);
  const side = h("div", { class: "watch-side stack tight" }, head, now.element, status.element, buttons.element);
  const element = h("div", { class: "watch-panel" }, h("div", { class: "watch-top" }, player.element, side), below, strip);
  const seek = (index) => player.seek(sectionStart(source, index));
  const endTimeline = timeline(strip, { plan: source.plan, video: source.video, onSection: onSection ?? seek, pictureOf: inputPicture(source, id), clock: player.clock });
  const draw = () => {
    const video = source.video.value;
    if (!video) return;
    const progress = source.progress.value;
    const numDone = Math.max(progress.numDone, video.progress_detail.section);
    player.update(video, progress);
    now.update(video, progress, player);
    status.update(video, progress);
    buttons.update(video, numDone);
    replace(badge, stateBadge(video));
    element.classList.toggle("is-completed", video.state === "completed");
  };
  const offs = [
    source.video.subscribe(draw),
    source.progress.subscribe(draw),
    live.on("connected", (isThere) => isThere && player.growing?.refresh()),
  ];
  draw();
  const close = () => {
    offs.forEach((off) => off());
    endTimeline();
    status.close();
    player.close();
  };
  return { element, player, close };
}

/** Where a section begins, seconds. @param {import("./source.js").Source} source @param {number} index */
export function sectionStart(source, index) {
  const { plan } = source.plan.value.answer;
  const fps = plan.fps / Math.max(plan.request.interpolate ?? 1, 1);
  const section = plan.sections.find((each) => each.index === index);
  return (section.start_frame + (plan.num_prefix_frames ?? 0)) / fps;
}

/** The section that takes shape, small, beside what plays already. */
function previewOf(id) {
  const picture = h("img", { alt: "" });
  const words = h("figcaption", null);
  const element = h("figure", { class: "watch-now", hidden: true }, picture, words);
  let shown = 0;
  const update = (video, progress, player) => {
    const isShown = video.state === "running" && player.hasFrames && progress.current !== null && progress.previewed === progress.current;
    element.hidden = !isShown;
    if (!isShown) return;
    if (shown !== progress.preview) picture.src = address(`/videos/${id}/preview`, { v: progress.preview });
    shown = progress.preview;
    words.textContent = t("watch.takes_shape", { n: progress.current });
  };
  return { element, update };
}

/** Where the pictures of a video's request are. */
function inputPicture(source, id) {
  return (value) => {
    if (value === "image" || value === "end_image") return address(`/videos/${id}/inputs/${value}`);
    const { request } = source.plan.value.answer.plan;
    for (const field of ["section_images", "section_prompts"]) {
      const place = (request[field] ?? []).findIndex((cue) => cue.image === value);
      if (place >= 0) return address(`/videos/${id}/inputs/${field}-${place}`);
    }
    return null;
  };
}
