/** One play button and one scrubber for two videos. */

import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/**
 * @param {import("./pair.js").Pair} pair
 * @returns {{element: HTMLElement, close: () => void}}
 */
export function transport(pair) {
  const id = uniqueId("scrub");
  const play = h("button", { class: "button primary icon-only", type: "button", onclick: () => pair.toggle() });
  const back = step(-1, "compare.frame_back", "left", pair);
  const on = step(1, "compare.frame_on", "right", pair);
  const scrub = h("input", { id, type: "range", min: 0, max: pair.duration, step: "any", value: 0, "aria-label": t("compare.position") });
  scrub.addEventListener("input", () => {
    if (pair.isPlaying.value) pair.pause();
    pair.seek(Number(scrub.value));
  });
  scrub.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!by) return;
    event.preventDefault(); // by frames, not by hundredths of the whole
    pair.step(by);
  });
  const time = h("span", { class: "compare-time" });
  const drawTime = (seconds) => {
    scrub.value = String(seconds);
    const text = `${clock(seconds)} / ${clock(pair.duration)}`;
    if (time.textContent !== text) time.textContent = text;
    scrub.setAttribute("aria-valuetext", t("compare.frame", { time: clock(seconds), frame: Math.floor(seconds * pair.fps + 1e-3) }));
  };
  const drawPlay = (isPlaying) => {
    replace(play, icon(isPlaying ? "pause" : "play"));
    play.setAttribute("aria-label", t(isPlaying ? "compare.pause" : "compare.play"));
  };
  const offs = [pair.time.subscribe(drawTime, { now: true }), pair.isPlaying.subscribe(drawPlay, { now: true })];
  const element = h("div", { class: "compare-transport card", role: "group", "aria-label": t("compare.controls") }, play, back, on, scrub, time);
  return { element, close: () => offs.forEach((off) => off()) };
}

function step(by, key, drawing, pair) {
  return h("button", { class: "button quiet icon-only", type: "button", "aria-label": t(key), title: t(key), onclick: () => pair.step(by) }, icon(drawing));
}
