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
 * @param {() => {base: any, axes: import("./combos.js").Axis[], counts: string[], error: string, note?: string}} options.read
 *   what the form says now
 * @returns {{element: HTMLElement, update: () => void, close: () => void}}
 */
export function summary({ word, read }) {
  const base = h("div", { class: "batch-base" });
  const count = h("p", { class: "batch-count", role: "status" });
  const product = h("p", { class: "muted batch-product" });
  const time = h("p", { class: "batch-time" });
  const warning = h("div", { class: "stack tight", "aria-live": "polite" });
  const group = labelled(t("batch.group"), h("input", { type: "text", maxLength: 200, value: `${word} ${dateTime(Date.now() / 1000)}` }), t("batch.group_help"));
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("batch.queueing") });
  const button = h("button", { class: "button primary batch-queue", type: "button" });
  const result = h("div", { class: "stack tight", role: "status" });
  let current = { combos: [], isReady: false };

  const plan = planner((answer, error) => {
    const seconds = answer && totalSeconds(current.combos, answer);
    time.textContent = seconds ? t("batch.time", { time: duration(Math.round(seconds)) }) : answer ? t("batch.time_unknown") : "";
    current.isReady = Boolean(answer);
    button.disabled = !answer;
    if (error) warning.append(note("danger", current.combos.length > 1 ? t("batch.first_fails", { label: current.combos[0].label, message: error }) : error));
  });
  const update = () => {
    const said = read();
    const size = said.error ? 0 : countOf(said.axes);
    const isTooMany = size > MOST;
    const all = size && !isTooMany ? combine(said.base, said.axes) : [];
    const isEmpty = all.some(({ request }) => !SUBJECTS.some((name) => request[name]));
    const combos = isEmpty ? [] : all;
    current = { combos, isReady: false };
    drawBase(base, said.base);
    count.textContent = tn("batch.count", size, { count: number(size) });
    product.textContent = said.counts.join(" × ");
    replace(warning, ...warnings(said, size, isEmpty));
    replace(button, icon("queue"), tn("batch.queue", size, { count: number(size) }));
    button.disabled = true;
    time.textContent = combos.length ? t("batch.planning") : "";
    plan(combos[0] ? { ...combos[0].request, label: combos[0].label } : null);
  };
  const queue = async () => {
    button.disabled = true;
    bar.hidden = false;
    replace(result);
    const name = group.control.value.trim() || word;
    const { combos } = current;
    const outcome = await queueAll(combos, { ...draft.options.value, group: name }, (done) => {
      bar.value = done / combos.length;
      time.textContent = t("batch.queued_of", { done: number(done), count: number(combos.length) });
    });
    bar.hidden = true;
    finish(outcome, name, combos.length);
  };
  const finish = (outcome, name, asked) => {
    const count = outcome.made.length;
    if (count === asked) {
      notify.success(tn("batch.all_queued", count));
      go("batch", "grid", name);
      return;
    }
    time.textContent = tn("batch.some_queued", count);
    announce(time.textContent);
    replace(result, ...shortfall(outcome, name, asked));
    button.disabled = false;
  };
  button.addEventListener("click", () => queue().catch(report));
  const element = h("aside", { class: "card batch-summary", "aria-label": t("batch.summary") }, base, h("div", null, count, product, time), warning, group.element, bar, button, result);
  return { element, update, close: () => plan.cancel() };
}

function note(kind, text) {
  return h("p", { class: `note ${kind}` }, text);
}

/** What is wrong with it, and what should be known. */
function warnings(said, size, isEmpty) {
  return [
    said.error && note("danger", said.error),
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
