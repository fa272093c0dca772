/** The queue: what is made now, what waits in which order, what did not end well. */

import { api } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { draggable } from "./drag.js";
import { estimates, starts } from "./estimate.js";
import { keyed } from "./keyed.js";
import { moveTo } from "./order.js";
import { endedRow, pausedRow, startWords, waitingRow } from "./rows.js";
import { runningCard } from "./running.js";
import { queueStore } from "./store.js";

const PAGE = 30;
const EMPTY = { running: [], waiting: [], paused: [], ended: [], hasMore: false, isPaused: false };

/** @param {HTMLElement} root */
export async function show(root) {
  const session = await api.get("/session");
  const page = draw(session.is_admin);
  const measured = estimates();
  let state = EMPTY;
  let held = null;
  let begins = new Map();
  let places = new Map();
  let shown = PAGE;

  const move = async (id, place) => {
    const from = state.waiting.findIndex((video) => video.id === id);
    const to = { top: 0, up: from - 1, down: from + 1 }[place] ?? place;
    if (await moveTo(state.waiting, id, to, store)) announce(t("queue.moved", { place: to + 1, count: state.waiting.length }));
  };
  const queue = {
    move,
    placeOf: (id) => places.get(id) ?? 0,
    count: () => state.waiting.length,
    startOf: (id) => startWords(begins.get(id), state.isPaused),
  };
  const lists = listsOf(page, queue);
  const redraw = (next) => {
    if (held !== null) {
      held = next;
      return;
    }
    state = next;
    begins = starts(state, measured.seconds);
    places = new Map(state.waiting.map((video, place) => [video.id, place]));
    for (const name of Object.keys(lists)) lists[name].show(name === "waiting" ? state.waiting.slice(0, shown) : state[name]);
    page.tell(state, measured.seconds, state.waiting.length > shown);
  };
  const store = queueStore(redraw);
  const showMore = () => {
    shown += PAGE;
    redraw(state);
  };
  page.onPause((wanted) => store.setPaused(wanted).catch(report));
  page.onMore({ waiting: showMore, ended: () => store.more().catch(report) });
  const hold = (isHeld) => {
    const waited = held;
    held = isHeld ? state : null;
    if (!isHeld) redraw(waited);
  };
  orderable(page.waiting.list, hold, move);
  replace(root, page.element);
  const end = () => [store.close, measured.close].forEach((off) => off());
  try {
    await Promise.all([store.reload(), measured.load()]);
  } catch (error) {
    end();
    throw error;
  }
  redraw(state);
  return end;
}

function listsOf(page, queue) {
  const list = (name, make) => keyed(page[name].list, (video) => video.id, make);
  return {
    running: list("running", runningCard),
    waiting: list("waiting", (video) => waitingRow(video, queue)),
    paused: list("paused", pausedRow),
    ended: list("ended", endedRow),
  };
}

/** Let the waiting ones be moved with the pointer and with keys. */
function orderable(list, onHold, move) {
  draggable(list, { handle: ".queue-handle", onHold, onDrop: (row, place) => move(row.dataset.id, place) });
  list.addEventListener("keydown", (event) => onKey(event, move));
}

/** Alt and an arrow move the row that has the focus. */
function onKey(event, move) {
  const row = event.target.closest("li");
  const isArrow = event.key === "ArrowUp" || event.key === "ArrowDown";
  if (!row || !event.altKey || !isArrow) return;
  event.preventDefault();
  move(row.dataset.id, event.key === "ArrowUp" ? "up" : "down");
}

function part(name, kind = "ul") {
  const title = h("h2", { id: `queue-${name}` });
  const aside = h("span", { class: "muted" });
  const list = h(kind, { class: `queue-list queue-${name}`, "aria-labelledby": title.id });
  const element = h("section", { class: "queue-part", hidden: true }, h("div", { class: "queue-part-head" }, title, aside), list);
  return { element, title, aside, list };
}

function moreButton() {
  return h("button", { class: "button queue-more", type: "button", hidden: true }, t("gallery.more"));
}

/** The page's parts, and how to bring them up to date. */
function draw(isOperator) {
  const parts = { running: part("running"), waiting: part("waiting", "ol"), paused: part("paused"), ended: part("ended") };
  const pause = h("button", { class: "button", type: "button", hidden: !isOperator });
  const paused = h("p", { class: "note warn queue-paused-note", role: "status", hidden: true });
  const more = { waiting: moreButton(), ended: moreButton() };
  const empty = h("div", { class: "empty", hidden: true }, h("h2", null, t("queue.empty")), h("p", null, t("queue.empty_help")), h("a", { class: "button primary", href: "#/create" }, t("gallery.create")));
  for (const name of Object.keys(more)) parts[name].element.append(more[name]);
  parts.waiting.element.append(h("p", { class: "field-help queue-keys", id: "queue-keys" }, t("queue.keys")));
  const tell = (state, seconds, hasMoreWaiting) => {
    for (const [name, { element, title }] of Object.entries(parts)) {
      element.hidden = state[name].length === 0;
      title.textContent = t(`queue.title.${name}`);
    }
    parts.waiting.aside.textContent = waitingWords(state, seconds);
    replace(pause, icon(state.isPaused ? "play" : "pause"), t(state.isPaused ? "queue.resume_all" : "queue.pause_all"));
    pause.dataset.wanted = state.isPaused ? "" : "pause";
    paused.hidden = !state.isPaused;
    paused.textContent = state.isPaused ? t(isOperator ? "queue.paused_note" : "queue.paused_by_operator") : "";
    more.waiting.hidden = !hasMoreWaiting;
    more.ended.hidden = !state.hasMore;
    empty.hidden = Object.keys(parts).some((name) => state[name].length > 0);
  };
  return {
    ...parts,
    element: h("div", { class: "queue-page" }, h("div", { class: "page-head" }, h("h1", null, t("queue.heading")), pause), paused, Object.values(parts).map((each) => each.element), empty),
    tell,
    onPause: (run) => pause.addEventListener("click", () => run(Boolean(pause.dataset.wanted))),
    onMore: (run) => Object.keys(more).forEach((name) => more[name].addEventListener("click", run[name])),
  };
}

/** "3 videos, about 4 min together". */
function waitingWords({ waiting }, seconds) {
  const each = waiting.map(seconds);
  const count = tn("gallery.videos", waiting.length);
  if (each.includes(null)) return count;
  return t("queue.together", { count, time: duration(Math.round(each.reduce((sum, one) => sum + one, 0))) });
}
