/** What was started from this page: watched in place, each with the way to its own page. */

import { api } from "../lib/api.js";
import { h, icon, isStill, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { live } from "../lib/live.js";
import { makeVideo } from "../lib/make.js";
import { report } from "../lib/notify.js";
import { onStored, store, stored } from "../lib/stored.js";

const STORED = "create.jobs";
const MOST = 4;
const TITLES = { video: "create.job.video", draft: "create.job.draft", final: "create.job.final_title" };

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {"video" | "draft" | "final"} kind
 * @property {Record<string, any>} [final] what to ask for to have the draft's final video
 * @property {string} [partner] the draft of a final, the final of a draft
 */

/** @returns {Entry[]} those of all tabs */
const entries = () => stored(STORED, []);

/**
 * The list of them; the newest is first.
 *
 * @param {HTMLElement} place
 */
export function jobs(place) {
  /** @type {Map<string, {element: HTMLElement, end: () => void, draw: (entry: Entry) => void}>} */
  const shown = new Map();
  let isOver = false;
  const keep = (next) => {
    store(STORED, next.slice(0, MOST));
    draw();
  };
  const draw = () => {
    if (isOver) return;
    const there = entries();
    for (const [id, each] of shown) {
      if (there.some((entry) => entry.id === id)) continue;
      each.end();
      each.element.remove();
      shown.delete(id);
    }
    for (const entry of there) {
      if (!shown.has(entry.id)) shown.set(entry.id, card(entry, { drop, finish }));
      shown.get(entry.id).draw(entry);
    }
    const cards = there.map((entry) => shown.get(entry.id).element);
    cards.forEach((element, index) => place.children[index] === element || place.insertBefore(element, place.children[index] ?? null));
  };
  const drop = (id) => keep(entries().filter((entry) => entry.id !== id));
  const change = (id, values) => keep(entries().map((entry) => (entry.id === id ? { ...entry, ...values } : entry)));
  const finish = async (entry) => {
    const video = await makeVideo(entry.final);
    add({ id: video.id, kind: "final", partner: entry.id });
    change(entry.id, { partner: video.id });
  };
  const add = (entry) => {
    keep([entry, ...entries()]);
    const made = shown.get(entry.id);
    if (made && !isOver) bring(made.element);
  };
  const off = onStored(STORED, draw);
  return {
    add,
    /** Show those of before; what is gone is left out. */
    restore: async () => {
      const isGone = ({ id }) => api.get(`/videos/${id}`).then(() => false, (error) => error.status === 404);
      const known = entries();
      const gone = await Promise.all(known.map(isGone));
      const ids = known.filter((_, index) => gone[index]).map(({ id }) => id);
      keep(entries().filter(({ id }) => !ids.includes(id)));
    },
    end: () => {
      isOver = true;
      off();
      for (const each of shown.values()) each.end();
    },
  };
}

/** Bring what was just begun into view, unless it is. @param {HTMLElement} element */
function bring(element) {
  const { top } = element.getBoundingClientRect();
  if (top > 60 && top < window.innerHeight * 0.5) return;
  element.scrollIntoView({ block: "start", behavior: isStill() ? "auto" : "smooth" });
}

/** One of them: what it is, how far it is, and what comes next. */
function card(entry, { drop, finish }) {
  const body = h("div", null);
  const next = h("div", { class: "row" });
  const title = t(TITLES[entry.kind]);
  const heading = h("h3", null, title);
  const close = t("create.job.close");
  const element = h(
    "section",
    { class: "card stack tight create-job", "aria-label": title },
    h(
      "div",
      { class: "row apart" },
      heading,
      h("div", { class: "row" }, next, h("button", { class: "button quiet small icon-only", type: "button", title: close, "aria-label": close, onclick: () => drop(entry.id) }, icon("close"))),
    ),
    body,
  );
  const watching = import("../watch/panel.js").then(({ watchPanel }) => watchPanel(body, entry.id));
  watching.catch(report);
  const gone = live.on("deleted", ({ id }) => { if (id === entry.id) drop(id); });
  const draw = (now) => replace(next, following(now, finish));
  draw(entry);
  return {
    element,
    draw,
    end: () => {
      gone();
      watching.then((off) => typeof off === "function" && off(), () => undefined);
    },
  };
}

/** After a draft its final video, after that both side by side. */
function following(entry, finish) {
  if (entry.partner) {
    const pair = entry.kind === "final" ? [entry.partner, entry.id] : [entry.id, entry.partner];
    return h("a", { class: "button small", href: `#/compare/${pair.join("/")}` }, icon("compare"), t("create.job.compare"));
  }
  if (!entry.final) return null;
  const start = async (event) => {
    event.target.disabled = true;
    try {
      await finish(entry);
    } catch (error) {
      event.target.disabled = false;
      report(error);
    }
  };
  return h("button", { class: "button small primary", type: "button", onclick: start }, icon("play"), t("create.job.final"));
}
