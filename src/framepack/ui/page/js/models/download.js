/** How far the download of a model's weights is, and what can be done about it. */

import { h, icon, replace } from "../lib/dom.js";
import { bytes, duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { askAndDownload } from "./consent.js";

/** The newest download of a model. @param {any[]} tasks the newest first @param {string} id */
export function downloadOf(tasks, id) {
  return tasks.find((task) => task.tool === "download" && task.fields.model === id) ?? null;
}

/**
 * A place that offers a download, or shows the one under way.
 *
 * @param {any} model
 * @param {ReturnType<typeof import("../tools/tasks.js").watchTasks>} watch
 * @param {{mayDownload: boolean, isFirst?: boolean}} options
 * @returns {{element: HTMLElement, draw: (isPresent: boolean) => void,
 *   setFirst: (isFirst: boolean) => void}}
 */
export function downloadPlace(model, watch, { mayDownload, isFirst = true }) {
  const element = h("div", { class: "stack tight models-download" });
  const bar = h("progress", { max: 1, "aria-label": t("models.downloading", { title: model.title }) });
  const amount = h("p", { class: "muted" });
  const file = h("p", { class: "field-help models-file" });
  const begin = async () => {
    const task = await askAndDownload(model);
    if (!task) return;
    announce(t("models.downloading", { title: model.title }));
    watch.put(task);
  };
  const running = h(
    "div",
    { class: "stack tight" },
    bar,
    h("div", { class: "row apart" }, amount, button("close", t("shell.cancel"), () => watch.cancel(downloadOf(watch.tasks.value, model.id)))),
    file,
  );
  let shown = "";
  const draw = (isPresent) => {
    const task = downloadOf(watch.tasks.value, model.id);
    const isUnderWay = task?.state === "running" || task?.state === "queued";
    const next = isUnderWay ? "running" : isPresent ? "present" : `${task?.state}/${task?.error?.message}`;
    if (isUnderWay) drawProgress(task, model, watch, { bar, amount, file });
    if (next === shown) return;
    shown = next;
    if (isUnderWay) replace(element, running);
    else if (isPresent) replace(element);
    else replace(element, notice(task), mayDownload ? downloadButton(task, begin, isFirst) : h("p", { class: "muted" }, t("models.ask_operator")));
  };
  const setFirst = (next) => {
    isFirst = next;
    element.querySelector(".models-begin")?.classList.toggle("primary", isFirst);
  };
  return { element, draw, setFirst };
}

function button(name, label, run) {
  return h("button", { class: "button small", type: "button", onclick: () => Promise.resolve(run()).catch(report) }, icon(name), label);
}

function downloadButton(task, begin, isFirst) {
  const label = task ? t("models.download_again") : t("models.download");
  const kind = isFirst ? "primary" : "";
  return h("div", null, h("button", { class: `button models-begin ${kind}`, type: "button", onclick: () => begin().catch(report) }, icon("download"), label));
}

/** Why the last one gave nothing. */
function notice(task) {
  if (task?.state === "failed") return h("p", { class: "note danger", role: "alert" }, task.error.message);
  if (task?.state === "cancelled") return h("p", { class: "note" }, t("models.download_cancelled"));
  return null;
}

function drawProgress(task, model, watch, { bar, amount, file }) {
  if (task.state === "queued") {
    bar.removeAttribute("value");
    amount.textContent = t("models.download_waits");
    file.textContent = "";
    return;
  }
  bar.value = task.progress;
  const { done, total, rest } = amountOf(task, model);
  const rate = watch.pace.rate(task);
  const left = watch.pace.left(task);
  amount.textContent = [
    total ? t("models.amount", { done: bytes(done * 1e9), total: bytes(total * 1e9) }) : `${number(task.progress * 100)} %`,
    rate && total ? t("models.rate", { rate: bytes(rate * total * 1e9) }) : null,
    left ? t("models.left", { left: duration(left) }) : null,
  ].filter(Boolean).join(" · ");
  file.textContent = rest;
}

/** What a download says of itself: "1.20 of 43.10 GB, fetching owner/name/file". */
function amountOf(task, model) {
  const found = /^([\d.]+) of ([\d.]+) GB,? ?(.*)$/.exec(task.message);
  if (found) return { done: Number(found[1]), total: Number(found[2]), rest: found[3] };
  const total = model.size_gb || 0;
  return { done: task.progress * total, total, rest: task.message };
}
