/** One task: how far it is, and what it left. */

import { h, icon, replace } from "../lib/dom.js";
import { ago, bytes, duration, number } from "../lib/format.js";
import { t, tOr } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { driftReport } from "./drift_report.js";
import { nameOf } from "./names.js";
import { fileOf, hasEnded } from "./tasks.js";
import { toolTitle } from "./words.js";

const BADGES = { queued: "", running: "accent", completed: "ok", failed: "danger", cancelled: "warn" };

/**
 * @param {any} first the task as it is now
 * @param {ReturnType<typeof import("./tasks.js").watchTasks>} watch
 * @param {{tools: any[], use: (tool: any, source: any) => void}} options
 */
export function taskCard(first, watch, { tools, use }) {
  const title = tOr(`tools.tool.${first.tool}.title`, first.title);
  const badge = h("span", { class: "badge" });
  const when = h("span", { class: "muted tools-when" });
  const bar = h("progress", { max: 1, "aria-label": t("tools.progress", { title }) });
  const message = h("p", { class: "muted tools-message" });
  const body = h("div", { class: "stack tight" });
  const names = h("p", { class: "muted tools-names" });
  const element = h(
    "article",
    { class: "card stack tight tools-task", "aria-label": title },
    h("div", { class: "row apart" }, h("h3", null, title), h("div", { class: "row" }, when, badge)),
    names,
    body,
  );
  let called = "";
  namesOf(first).then((text) => {
    called = text;
    names.textContent = text;
  });
  const progress = h("div", { class: "stack tight" }, bar, h("div", { class: "row apart" }, message, button("close", t("shell.cancel"), () => watch.cancel(first))));
  let shown = "";
  const draw = (task) => {
    when.textContent = ago(task.created_at);
    if (!hasEnded(task)) drawProgress(task, watch, bar, message);
    if (task.state === shown) return;
    if (shown && hasEnded(task)) announce(`${title}: ${t(`tools.state.${task.state}`)}`);
    shown = task.state;
    badge.className = `badge ${BADGES[task.state]}`;
    badge.textContent = t(`tools.state.${task.state}`);
    replace(body, hasEnded(task) ? ended(task, watch, { title, tools, use: (tool) => use(tool, { id: task.id, name: `${title}: ${called}`, still: null }) }) : progress);
  };
  return { element, draw };
}

/** What it works on, in words. */
async function namesOf(task) {
  const given = ["videos", "video", "frames"].flatMap((name) => task.fields[name] ?? []);
  return (await Promise.all(given.map((each) => nameOf(String(each))))).join(" + ");
}

function drawProgress(task, watch, bar, message) {
  if (task.state === "queued") {
    bar.removeAttribute("value");
    message.textContent = t("tools.waits");
    return;
  }
  bar.value = task.progress;
  const left = watch.pace.left(task);
  message.textContent = [`${number(task.progress * 100)} %`, task.message, left && t("tools.left", { left: duration(left) })].filter(Boolean).join(" · ");
}

function button(name, label, run, kind = "") {
  return h("button", { class: `button small ${kind}`, type: "button", onclick: () => Promise.resolve(run()).catch(report) }, icon(name), label);
}

function ended(task, watch, { title, tools, use }) {
  const remove = h("button", { class: "button small quiet icon-only", type: "button", "aria-label": t("tools.delete", { title }), title: t("tools.delete", { title }), onclick: () => watch.delete(task).catch(report) }, icon("trash"));
  if (task.state === "failed") return [h("p", { class: "note danger" }, task.error.message), h("div", { class: "row" }, remove)];
  if (task.state === "cancelled") return h("div", { class: "row apart" }, h("p", { class: "muted" }, t("tools.was_cancelled")), remove);
  const { video, plot, report: found } = task.output;
  return [
    video && videoOf(task, video, found),
    plot && driftReport(fileOf(task, plot), found),
    h("div", { class: "row" }, [video, plot].filter(Boolean).map((name) => downloadLink(task, name)), h("span", { class: "grow" }), remove),
    video && nextTools(tools, use),
  ];
}

function videoOf(task, name, found) {
  const address = fileOf(task, name);
  const isPicture = /\.(gif|webp)$/.test(name);
  return [
    isPicture ? h("img", { class: "tools-video", src: address, alt: "" }) : h("video", { class: "tools-video", src: address, controls: true, preload: "metadata", loop: true, "aria-label": t("tools.result") }),
    found && h("p", { class: "muted" }, factsOf(found)),
    found?.notes?.length > 0 && h("ul", { class: "muted tools-notes" }, found.notes.map((note) => h("li", null, note))),
  ];
}

function factsOf(found) {
  return [
    found.width && `${found.width} × ${found.height} px`,
    found.duration_s !== undefined && duration(found.duration_s),
    found.fps && t("tools.fps", { fps: number(found.fps, 2) }),
    found.bytes && bytes(found.bytes),
  ].filter(Boolean).join(" · ");
}

function downloadLink(task, name) {
  return h("a", { class: "button small", href: fileOf(task, name, { download: true }), download: name }, icon("download"), t(name.endsWith(".png") ? "tools.download_plot" : "tools.download"));
}

/** Buttons that take the result on to another tool. */
function nextTools(tools, use) {
  const fitting = tools.filter((tool) => tool.fields.some((field) => field.kind === "file" && field.needed && field.accepts === "video"));
  return h(
    "div",
    { class: "row tools-next", role: "group", "aria-label": t("tools.use_in") },
    h("span", { class: "muted" }, t("tools.use_in")),
    fitting.map((tool) => h("button", { class: "button small quiet", type: "button", onclick: () => use(tool) }, toolTitle(tool))),
  );
}
