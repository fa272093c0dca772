/** What would be queued: how many, how long it takes, what is wrong with it; and the button. */

import { api } from "../lib/api.js";
import { draft } from "../lib/draft.js";
import { h, icon, replace } from "../lib/dom.js";
import { dateTime, duration, number } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { announce, notify, report } from "../lib/notify.js";
import { debounce } from "../lib/state.js";
import { go } from "../router.js";
import { fileAddress } from "../forms/uploads.js";
import { labelled } from "../gallery/field.js";
import { combine, countOf } from "./combos.js";
import { totalSeconds } from "./estimate.js";
import { queueAll } from "./queueing.js";

const PLAN_MS = 350;
const MANY = 100;
const MOST = 1000;
/** Each video needs one of these. */
const SUBJECTS = ["prompt", "image", "extend", "video"];

/**
 * The panel beside a form.
 *
 * @param {object} options
 * @param {string} options.word of the group's name: "Batch", "Grid"
 * @param {() => {base: any, axes: import("./combos.js").Axis[], counts: string[], error: string, note?: string, isEmpty?: boolean}} options.read
 *   what the form says now
 * @returns {{element: HTMLElement, update: () => void, close: () => void}}
 */
export function summary({ word, read }) {
  const parts = draw(word);
  let combos = [];
  const plan = planner((answer, error) => {
    const seconds = answer && totalSeconds(combos, answer);
    parts.time.textContent = seconds ? t("batch.time", { time: duration(Math.round(seconds)) }) : answer ? t("batch.time_unknown") : "";
    parts.button.disabled = !answer || parts.isQueueing;
    if (error) parts.warning.append(note("danger", combos.length > 1 ? t("batch.first_fails", { label: combos[0].label, message: error }) : error));
  });
  const update = () => {
    const said = read();
    const size = said.error ? 0 : countOf(said.axes);
    const all = size <= MOST && size ? combine(said.base, said.axes) : [];
    const isEmpty = all.some(({ request }) => !SUBJECTS.some((name) => request[name]));
    combos = isEmpty ? [] : all;
    drawBase(parts.base, said.base);
    parts.count.textContent = tn("batch.count", size, { count: number(size) });
    parts.product.textContent = said.counts.join(" × ");
    replace(parts.warning, ...warnings(said, size, isEmpty));
    replace(parts.button, icon("queue"), tn("batch.queue", size, { count: number(size) }));
    parts.button.disabled = true;
    parts.time.textContent = combos.length ? t("batch.planning") : "";
    plan(combos[0] ? { ...combos[0].request, label: combos[0].label } : null);
  };
  parts.button.addEventListener("click", () => queue(parts, combos, word).catch(report));
  return { element: parts.element, update, close: () => plan.cancel() };
}

/** The panel's parts. */
function draw(word) {
  const name = h("input", { type: "text", maxLength: 200, value: `${word} ${dateTime(Date.now() / 1000)}` });
  const parts = {
    base: h("div", { class: "batch-base" }),
    count: h("p", { class: "batch-count", role: "status" }),
    product: h("p", { class: "muted batch-product" }),
    time: h("p", { class: "batch-time" }),
    warning: h("div", { class: "stack tight", "aria-live": "polite" }),
    bar: h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("batch.queueing") }),
    button: h("button", { class: "button primary batch-queue", type: "button" }),
    result: h("div", { class: "stack tight", role: "status" }),
  };
  const { base, count, product, time, warning, bar, button, result } = parts;
  const group = labelled(t("batch.group"), name, t("batch.group_help")).element;
  const element = h("aside", { class: "card batch-summary", "aria-label": t("batch.summary") }, base, h("div", null, count, product, time), warning, group, bar, button, result);
  return { ...parts, name, element, isQueueing: false };
}

/** Queue all of them; when that is done their page is shown, else what is missing and why. */
async function queue(parts, combos, word) {
  const { name, bar, button, time, result } = parts;
  const group = name.value.trim() || word;
  parts.isQueueing = true; // whatever is edited meanwhile
  button.disabled = true;
  bar.hidden = false;
  replace(result);
  const outcome = await queueAll(combos, { ...draft.options.value, group }, (done) => {
    bar.value = done / combos.length;
    time.textContent = t("batch.queued_of", { done: number(done), count: number(combos.length) });
  });
  parts.isQueueing = false;
  bar.hidden = true;
  const count = outcome.made.length;
  if (count === combos.length) {
    notify.success(tn("batch.all_queued", count));
    if (button.isConnected) go("batch", "grid", group);
    return;
  }
  time.textContent = tn("batch.some_queued", count);
  announce(time.textContent);
  replace(result, ...shortfall(outcome, group, combos.length));
  button.disabled = false;
}

function note(kind, text) {
  return h("p", { class: `note ${kind}` }, text);
}

/** What is wrong with it, and what should be known. */
function warnings(said, size, isEmpty) {
  return [
    said.error && note(said.isEmpty ? "" : "danger", said.error), // nothing was entered yet
    isEmpty && note("warn", t("batch.no_subject")),
    size > MOST && note("danger", t("batch.too_many", { most: number(MOST) })),
    size <= MOST && size > MANY && note("warn", t("batch.many", { count: number(size) })),
    said.note && note("", said.note),
  ];
}

/** Why not all are queued, and the way to those that are. */
function shortfall({ made, failed, stopped }, name, asked) {
  const rest = number(asked - made.length - failed.length);
  return [
    stopped && note("danger", t("batch.stopped", { message: stopped, count: number(made.length), rest })),
    failed.length > 0 && failures(failed),
    made.length > 0 && h("a", { class: "button", href: `#/batch/grid/${encodeURIComponent(name)}` }, t("batch.open_group")),
  ];
}

function failures(failed) {
  return h(
    "div",
    { class: "note danger" },
    h("p", null, tn("batch.failed", failed.length)),
    h("ul", null, failed.map(({ label, message }) => h("li", null, h("strong", null, label), ": ", message))),
  );
}

/** Ask what would be made of a request, once things are quiet; an answer that is too late is dropped. */
function planner(onAnswer) {
  let turn = 0;
  const ask = debounce(async (body, mine) => {
    try {
      const answer = await api.post("/videos/plan", body);
      if (mine === turn) onAnswer(answer, "");
    } catch (error) {
      if (mine === turn) onAnswer(null, error.message);
    }
  }, PLAN_MS);
  const plan = (body) => {
    turn += 1;
    if (body) ask(body, turn);
    else ask.cancel();
  };
  plan.cancel = () => plan(null);
  return plan;
}

/** The settings that all combinations share. */
function drawBase(element, request) {
  const facts = [request.model, request.duration_s && duration(request.duration_s), request.seed !== undefined && t("gallery.seed_is", { seed: request.seed })];
  replace(
    element,
    typeof request.image === "string" && h("img", { src: fileAddress(request.image), alt: t("batch.start_picture"), onerror: (event) => event.target.remove() }),
    h(
      "div",
      { class: "grow" },
      h("h2", null, t("batch.base")),
      h("p", { class: "batch-base-prompt" }, request.prompt || h("span", { class: "muted" }, t("gallery.no_prompt"))),
      h("p", { class: "muted" }, facts.filter(Boolean).join(" · ")),
      h("a", { href: "#/create" }, t("batch.edit_base")),
    ),
  );
}
