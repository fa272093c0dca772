/** Rows of the queue: videos that wait, are paused, or did not end well. */

import { h, icon, replace, visuallyHidden } from "../lib/dom.js";
import { ago, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { act, actionsOf, deleteVideos } from "../gallery/actions.js";
import { factsLine, nameOf, promptOf, stateBadge } from "../gallery/facts.js";
import { menuButton } from "../gallery/menu.js";
import { picture } from "../gallery/picture.js";

/** A button with a sign, whose name says of which video it speaks. */
function signButton(sign, word, run, more = {}) {
  const button = h("button", { class: "button quiet icon-only small", type: "button", title: t(`queue.${word}`), ...more }, icon(sign));
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    try {
      await run();
    } catch (error) {
      report(error);
    }
  });
  const named = (name) => button.setAttribute("aria-label", t("queue.of", { action: t(`queue.${word}`), name }));
  return { button, named };
}

/** What every row begins with: picture, prompt, facts. */
function body(video) {
  const shown = picture(video);
  const prompt = h("a", { class: "queue-prompt", href: `#/video/${video.id}` });
  const facts = h("p", { class: "muted queue-facts" });
  const note = h("p", { class: "queue-note" });
  const update = (next, words) => {
    shown.update(next);
    prompt.textContent = promptOf(next);
    facts.textContent = factsLine(next);
    replace(note, words);
  };
  return { parts: [shown.element, h("div", { class: "queue-words" }, prompt, facts, note)], update };
}

/**
 * A waiting video.
 *
 * @param {any} video
 * @param {{move: (id: string, place: "top" | "up" | "down") => any, placeOf: (id: string) => number, count: () => number, startOf: (id: string) => string}} queue
 * @returns {import("./keyed.js").Row}
 */
export function waitingRow(video, queue) {
  const { parts, update: tell } = body(video);
  const { button: handle, named: nameHandle } = signButton("drag", "reorder", () => undefined, { class: "queue-handle button quiet icon-only small", "aria-describedby": "queue-keys", title: t("queue.drag") });
  const number_ = h("span", { class: "queue-number", "aria-hidden": "true" });
  const mover = (sign, word, place) => signButton(sign, word, () => queue.move(video.id, place));
  const moves = { top: mover("top", "to_top", "top"), up: mover("up", "move_up", "up"), down: mover("down", "move_down", "down") };
  const others = [signButton("pause", "pause", () => act(video, "pause")), signButton("close", "cancel", () => act(video, "cancel"))];
  const element = h(
    "li",
    { class: "queue-row", dataset: { id: video.id } },
    h("div", { class: "queue-grip" }, handle, number_),
    parts,
    h("div", { class: "queue-buttons" }, Object.values(moves).map((each) => each.button), h("span", { class: "queue-split" }), others.map((each) => each.button)),
  );
  const update = (next) => {
    const place = queue.placeOf(next.id);
    const isLast = place === queue.count() - 1;
    number_.textContent = number(place + 1);
    tell(next, [visuallyHidden(t("queue.place", { place: place + 1, count: queue.count() })), queue.startOf(next.id)]);
    for (const each of [{ named: nameHandle }, ...Object.values(moves), ...others]) each.named(nameOf(next));
    for (const [name, { button }] of Object.entries(moves)) button.setAttribute("aria-disabled", String(name === "down" ? isLast : place === 0));
  };
  update(video);
  return { element, update };
}

/** A paused video. @param {any} video @returns {import("./keyed.js").Row} */
export function pausedRow(video) {
  const { parts, update: tell } = body(video);
  const buttons = [signButton("play", "resume", () => act(video, "resume")), signButton("close", "cancel", () => act(video, "cancel"))];
  const element = h("li", { class: "queue-row" }, parts, h("div", { class: "queue-buttons" }, buttons.map((each) => each.button)));
  const update = (next) => {
    const { fraction, section, num_sections: sections } = next.progress_detail;
    tell(next, section > 0 ? t("queue.paused_at", { percent: Math.round(fraction * 100), section, sections }) : t("queue.paused_before"));
    buttons.forEach((each) => each.named(nameOf(next)));
  };
  update(video);
  return { element, update };
}

/** A failed or cancelled video. @param {any} video @returns {import("./keyed.js").Row} */
export function endedRow(video) {
  let current = video;
  const { parts, update: tell } = body(video);
  const buttons = [
    signButton("retry", "retry", () => act(current, "retry")),
    signButton("trash", "delete", () => deleteVideos([current])),
  ];
  const menu = menuButton(t("gallery.menu"), () => actionsOf(current));
  const element = h("li", { class: "queue-row" }, parts, h("div", { class: "queue-buttons" }, buttons.map((each) => each.button), menu));
  const update = (next) => {
    current = next;
    const isFailed = next.state === "failed";
    tell(next, [stateBadge(next), h("span", { class: isFailed ? "queue-error" : "muted" }, isFailed ? next.error?.message : t("queue.cancelled", { when: ago(next.created_at) }))]);
    buttons.forEach((each) => each.named(nameOf(next)));
    menu.setAttribute("aria-label", t("gallery.menu_of", { name: nameOf(next) }));
  };
  update(video);
  return { element, update };
}

/** When a waiting video may begin, in words. @param {number | undefined} seconds @param {boolean} isPaused */
export function startWords(seconds, isPaused) {
  if (isPaused) return t("queue.starts_later");
  if (seconds === undefined) return "";
  return seconds < 2 ? t("queue.starts_next") : t("queue.starts_in", { time: duration(Math.round(seconds)) });
}
