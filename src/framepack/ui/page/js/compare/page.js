/** Two videos in step, `#/compare/A/B`: side by side or one over the other, and what differs. */

import { api } from "../lib/api.js";
import { h, icon, on, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { prefs } from "../lib/prefs.js";
import { schema } from "../lib/schema.js";
import { differences } from "./differences.js";
import { Pair } from "./pair.js";
import { transport } from "./transport.js";

const LAYOUTS = ["side", "over"];

/**
 * @param {HTMLElement} root
 * @param {string[]} params ids of the two videos
 * @returns {Promise<() => void>}
 */
export async function show(root, [first, second]) {
  if (!first || !second) {
    replace(root, h("div", { class: "empty" }, h("h1", null, t("compare.title")), h("p", null, t("compare.needs_two")), h("p", null, h("a", { href: "#/gallery" }, t("compare.to_gallery")))));
    return () => {};
  }
  const [one, other] = await Promise.all([api.get(`/videos/${first}`), api.get(`/videos/${second}`), schema.load()]);
  const missing = [one, other].find((video) => video.state !== "completed" || !video.output.video);
  if (missing) {
    replace(root, h("div", { class: "empty" }, h("h1", null, t("compare.title")), h("p", null, t("compare.not_finished")), h("p", null, h("a", { href: `#/video/${missing.id}` }, t("compare.to_video")))));
    return () => {};
  }
  const pair = new Pair([one, other]);
  const bar = transport(pair);
  const stage = h("div", { class: "compare-stage", tabIndex: -1 }, pair.element);
  const layout = layoutChoice(pair);
  const swap = h("a", { class: "button quiet", href: `#/compare/${second}/${first}` }, icon("compare"), t("compare.swap"));
  replace(
    root,
    h("div", { class: "page-head" }, h("h1", null, t("compare.title")), h("div", { class: "row" }, layout, swap)),
    h("div", { class: "stack" }, stage, bar.element, h("p", { class: "field-help compare-keys" }, t("compare.keys")), differences(one, other)),
  );
  const offs = [on(document, "keydown", (event) => press(event, pair))];
  return () => {
    offs.forEach((off) => off());
    bar.close();
    pair.close();
  };
}

function layoutChoice(pair) {
  const chosen = prefs.get("compare.layout", "side");
  const set = (name) => {
    pair.setLayout(name);
    prefs.set("compare.layout", name);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.name === name));
  };
  const buttons = LAYOUTS.map((name) => h("button", { class: "button small", type: "button", dataset: { name }, onclick: () => set(name) }, t(`compare.layout.${name}`)));
  set(LAYOUTS.includes(chosen) ? chosen : "side");
  return h("div", { class: "row", role: "group", "aria-label": t("compare.layout") }, buttons);
}

/** Keys of players; fields and buttons keep theirs. */
function press(event, pair) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const kind = event.target.closest?.("input, textarea, select, button, a, summary");
  if (event.key === " " && !kind) pair.toggle();
  else if ((event.key === "," || (event.key === "ArrowLeft" && !kind))) pair.step(-1);
  else if ((event.key === "." || (event.key === "ArrowRight" && !kind))) pair.step(1);
  else if (event.key === "Home" && !kind) pair.seek(0);
  else return;
  event.preventDefault();
}
