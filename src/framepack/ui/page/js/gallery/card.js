/** A video as a card of the gallery, and several as a stack. */

import { h, icon, replace } from "../lib/dom.js";
import { ago, dateTime } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { actionsOf } from "./actions.js";
import { lengthOf, nameOf, promptOf, settingsOf, stateBadge, stillOf } from "./facts.js";
import { menuButton } from "./menu.js";
import { picture, playOnHover } from "./picture.js";

/**
 * A card.
 *
 * @param {any} video
 * @param {{has: (id: string) => boolean, toggle: (video: any, isChosen: boolean, withRange: boolean) => void}} selection
 * @returns {import("../queue/keyed.js").Row}
 */
export function card(video, selection) {
  let current = video;
  const shown = picture(video);
  const link = h("a", { class: "gallery-open", href: `#/video/${video.id}` }, shown.element);
  const check = h("input", { type: "checkbox", onclick: (event) => selection.toggle(current, event.target.checked, event.shiftKey) });
  const facts = h("div", { class: "gallery-caption-inner" });
  const menu = menuButton(t("gallery.menu"), () => actionsOf(current));
  const length = h("span", { class: "gallery-length" });
  const time = h("span");
  const when = h("span", { class: "muted gallery-when" }, length, time);
  const element = h(
    "article",
    { class: "gallery-card" },
    link,
    h("label", { class: "gallery-check" }, check),
    h("div", { class: "gallery-caption" }, facts),
  );
  let said = "";
  const update = (next) => {
    current = next;
    shown.update(next);
    const name = nameOf(next);
    link.setAttribute("aria-label", t("gallery.open_name", { name }));
    check.setAttribute("aria-label", t("gallery.select_name", { name }));
    menu.setAttribute("aria-label", t("gallery.menu_of", { name }));
    check.checked = selection.has(next.id);
    element.classList.toggle("is-chosen", check.checked);
    length.textContent = `${lengthOf(next)} · `;
    time.textContent = ago(next.created_at);
    when.title = dateTime(next.created_at);
    const words = JSON.stringify([next.state, name, settingsOf(next)]);
    if (words !== said) replace(facts, ...caption(next, when, menu)); // else the menu would lose the focus
    said = words;
  };
  playOnHover(element, shown);
  update(video);
  return { element, update, remove: shown.stop };
}

function caption(video, when, menu) {
  return [
    h("p", { class: "gallery-prompt" }, promptOf(video)),
    video.label && h("p", { class: "muted gallery-label" }, video.label),
    h("dl", { class: "gallery-settings" }, settingsOf(video).map(([word, value]) => h("div", null, h("dt", null, word), h("dd", null, value)))),
    h("div", { class: "gallery-meta" }, video.state === "completed" ? null : stateBadge(video), when, menu),
  ];
}

/**
 * A stack: videos of one group.
 *
 * @param {{group: string, videos: any[]}} stack
 * @returns {import("../queue/keyed.js").Row}
 */
export function stackCard(stack) {
  const pile = h("div", { class: "gallery-pile" });
  const name = h("p", { class: "gallery-prompt" }, stack.group);
  const count = h("span", { class: "muted gallery-when" });
  const element = h(
    "article",
    { class: "gallery-card is-stack" },
    h("a", { class: "gallery-open", href: `#/batch/grid/${encodeURIComponent(stack.group)}`, "aria-label": t("gallery.open_group", { name: stack.group }) }, pile),
    h("div", { class: "gallery-caption" }, h("div", { class: "gallery-caption-inner" }, name, h("div", { class: "gallery-meta" }, icon("batch"), count))),
  );
  const update = (next) => {
    const stills = spread(next.videos.filter(stillOf), 4);
    pile.dataset.count = String(stills.length);
    const known = [...pile.querySelectorAll("img")].map((image) => image.getAttribute("src")).join();
    if (known !== stills.map(stillOf).join() || !pile.childElementCount) {
      replace(pile, stills.length ? stills.map((video) => h("img", { src: stillOf(video), alt: "", loading: "lazy" })) : h("span", { class: "gallery-blank" }, icon("batch")));
    }
    count.textContent = `${tn("gallery.videos", next.videos.length)} · ${ago(next.videos[0].created_at)}`;
  };
  update(stack);
  return { element, update };
}

/** Some of them from all over the list. */
function spread(videos, count) {
  if (videos.length <= count) return videos;
  return Array.from({ length: count }, (_, index) => videos[Math.round((index * (videos.length - 1)) / (count - 1))]);
}
