/** Videos that were ticked, and what can be done with all of them. */

import { h, replace } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { go } from "../router.js";
import { deleteVideos, downloadAll } from "./actions.js";
import { contentOf } from "./facts.js";

/**
 * @param {() => any[]} shown videos in their order
 * @param {() => void} onChange
 */
export function selection(shown, onChange) {
  /** @type {Map<string, any>} */
  const chosen = new Map();
  let anchor = null;
  const bar = h("div", { class: "gallery-selection card", role: "region", "aria-label": t("gallery.selection"), hidden: true });

  const changed = () => {
    draw();
    onChange();
  };
  const toggle = (video, isChosen, withRange) => {
    for (const each of withRange && anchor ? between(shown(), anchor, video.id) : [video]) {
      if (isChosen) chosen.set(each.id, each);
      else chosen.delete(each.id);
    }
    anchor = video.id;
    changed();
  };
  const clear = () => {
    chosen.clear();
    changed();
  };
  const remove = async () => {
    if (await deleteVideos([...chosen.values()])) clear();
  };
  const draw = () => {
    const videos = [...chosen.values()];
    bar.hidden = videos.length === 0;
    const focused = bar.contains(document.activeElement) ? [...bar.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    replace(bar, h("strong", { role: "status" }, tn("gallery.selected", videos.length)), h("div", { class: "row" }, buttons(videos, remove, clear)));
    bar.querySelectorAll("button")[focused]?.focus();
  };
  return {
    element: bar,
    toggle,
    clear,
    has: (id) => chosen.has(id),
    /** Videos that are gone can no longer be chosen. @param {any[]} videos */
    keepOnly(videos) {
      const there = new Set(videos.map((video) => video.id));
      const gone = [...chosen.keys()].filter((id) => !there.has(id));
      gone.forEach((id) => chosen.delete(id));
      if (gone.length) draw();
    },
  };
}

function buttons(videos, remove, clear) {
  const two = videos.length === 2 && videos.every((video) => contentOf(video)?.is === "video");
  const button = (word, run, more = {}) => h("button", { class: "button", type: "button", onclick: run, ...more }, t(`gallery.${word}`));
  return [
    button("compare", () => go("compare", videos[0].id, videos[1].id), { disabled: !two, title: two ? "" : t("gallery.compare_two") }),
    button("download", () => downloadAll(videos).catch(report), { disabled: !videos.some(contentOf) }),
    button("delete", () => remove().catch(report), { class: "button danger" }),
    button("select_none", clear, { class: "button quiet" }),
  ];
}

function between(videos, from, to) {
  const places = [from, to].map((id) => videos.findIndex((video) => video.id === id));
  if (places.includes(-1)) return videos.filter((video) => video.id === to);
  return videos.slice(Math.min(...places), Math.max(...places) + 1);
}
