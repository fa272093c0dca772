/** The system page: what the doctor knows of the machine, and what the server does now. */

import { api } from "../lib/api.js";
import { copyText } from "../lib/clipboard.js";
import { h, icon, replace } from "../lib/dom.js";
import { dateTime, gb, number } from "../lib/format.js";
import { t, tn, tOr } from "../lib/i18n.js";
import { live } from "../lib/live.js";
import { announce, report } from "../lib/notify.js";
import { sortedFindings } from "./findings.js";
import { reportText } from "./report_text.js";

const STATES = ["queued", "running", "paused", "completed", "failed", "cancelled"];
const LINKS = [
  ["/docs", "docs"],
  ["/openapi.json", "openapi"],
  ["/metrics", "metrics"],
  ["/readyz", "ready"],
];

/**
 * Show the page.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} ends it
 */
export async function show(root) {
  const known = { system: null, worker: null, queue: null };
  const parts = { findings: h("section", { class: "stack" }), side: h("div", { class: "stack system-side" }) };
  const draw = () => drawParts(parts, known);
  const again = button("retry", t("system.refresh"), () => load(true));
  const copy = button("copy", t("system.copy"), () => copyText(reportText(known), { title: t("system.report"), done: t("system.copied") }));
  copy.disabled = true;
  replace(
    root,
    h("div", { class: "page-head" }, h("h1", null, t("system.title")), h("div", { class: "toolbar" }, again, copy)),
    h("div", { class: "system-columns" }, parts.findings, parts.side),
  );
  const load = async (isFresh) => {
    again.disabled = true;
    replace(parts.findings, h("p", { class: "muted", role: "status" }, t("system.looking")));
    try {
      const [system, worker, queue] = await Promise.all([
        api.get("/system", isFresh ? { refresh: true } : {}),
        api.get("/worker"),
        api.get("/queue"),
      ]);
      Object.assign(known, { system, worker, queue });
      copy.disabled = false;
      draw();
      if (isFresh) announce(t("system.refreshed"));
    } catch (error) {
      replace(parts.findings, h("p", { class: "note danger", role: "alert" }, error.message));
    } finally {
      again.disabled = false;
    }
  };
  const news = (name) => (value) => {
    known[name] = value;
    if (known.system) drawSide(parts.side, known);
  };
  const offs = [live.on("worker", news("worker")), live.on("queue", news("queue"))];
  load(false);
  return () => offs.forEach((off) => off());
}

function button(name, label, run) {
  return h("button", { class: "button", type: "button", onclick: () => Promise.resolve(run()).catch(report) }, icon(name), label);
}

function drawParts(parts, known) {
  const { findings } = known.system;
  const sorted = sortedFindings(findings);
  const problems = findings.filter((each) => each.level === "problem").length;
  replace(
    parts.findings,
    h(
      "div",
      { class: `note system-summary ${problems ? "danger" : "ok"}`, role: "status" },
      icon(problems ? "warning" : "check"),
      problems ? tn("system.problems", problems) : t("system.all_well"),
    ),
    sorted.map(([level, some]) =>
      h(
        "section",
        { class: "card system-level" },
        h("h2", { class: "row" }, t(`system.level.${level}`), h("span", { class: "badge" }, String(some.length))),
        h("ul", { class: "system-findings" }, some.map(findingLine)),
      ),
    ),
  );
  drawSide(parts.side, known);
}

const ICONS = { problem: "warning", note: "info", good: "check" };

function findingLine({ topic, level, text, advice }) {
  return h(
    "li",
    { class: `system-finding is-${level}` },
    icon(ICONS[level]),
    h(
      "div",
      { class: "grow" },
      h("h3", null, tOr(`system.topic.${topic}`, topic)),
      h("p", null, text),
      advice && h("p", { class: "muted" }, h("span", { class: "system-advice" }, t("system.advice")), " ", advice),
    ),
  );
}

function drawSide(side, known) {
  const { machine } = known.system;
  replace(
    side,
    card(t("system.now"), facts(nowFacts(known)), countsLine(known.queue)),
    machine && card(t("system.machine"), facts(machineFacts(machine))),
    machine && card(t("system.folders"), h("ul", { class: "system-folders" }, machine.folders.map(folderLine))),
    machine && card(t("system.versions"), facts(versionFacts(machine))),
    card(t("system.links"), linkList(), h("p", { class: "field-help" }, t("system.logs_help"))),
    h("p", { class: "field-help" }, t("system.checked", { when: dateTime(known.system.checked_at) })),
  );
}

function card(title, ...content) {
  return h("section", { class: "card stack tight" }, h("h2", null, title), content);
}

/** @param {[string, any][]} pairs what is not known is left out */
function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "system-facts" }, there.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function nowFacts({ worker }) {
  const state = worker.loading ? "loading" : !worker.alive ? "asleep" : worker.busy ? "busy" : "idle";
  return [
    [t("system.worker"), h("span", { class: `badge ${state === "busy" ? "accent" : state === "idle" ? "ok" : ""}` }, t(`system.worker.${state}`, { model: worker.loading }))],
    [t("system.loaded"), worker.model],
    [t("system.device"), worker.device],
    [t("system.device_memory"), worker.device_memory_gb === null ? null : gb(worker.device_memory_gb)],
    [t("system.host_memory"), worker.host_memory_gb === null ? null : gb(worker.host_memory_gb)],
  ];
}

function countsLine(queue) {
  const some = STATES.filter((state) => queue.counts[state]);
  if (!some.length) return h("p", { class: "muted" }, t("system.no_videos"));
  return h(
    "ul",
    { class: "row system-counts", "aria-label": t("system.videos") },
    some.map((state) => h("li", { class: "badge" }, `${number(queue.counts[state])} ${t(`system.state.${state}`)}`)),
  );
}

function machineFacts(machine) {
  const { compute } = machine;
  return [
    [t("system.os"), machine.system],
    [t("system.cards"), machine.cards.length ? machine.cards.map((each) => each.name ?? String(each)).join(", ") : t("system.no_cards")],
    [t("system.device"), compute.device && `${compute.device} (${compute.device_name})`],
    [t("system.dtype"), compute.dtype],
    [t("system.cores"), number(machine.cores)],
    [t("system.memory"), t("system.memory_free", { all: gb(machine.memory_gb), free: gb(machine.free_memory_gb) })],
    [t("system.network"), t(machine.offline ? "system.offline" : "system.online")],
  ];
}

function versionFacts(machine) {
  return [
    ["FramePack", machine.framepack],
    ["Python", machine.python],
    ["PyTorch", machine.compute.torch],
    [t("system.encoder"), machine.encoder],
    [t("system.settings_file"), h("span", { class: "mono" }, machine.settings_file)],
  ];
}

function folderLine(folder) {
  return h(
    "li",
    null,
    h("div", { class: "row apart" }, h("h3", null, tOr(`system.folder.${folder.title}`, folder.title)), h("span", null, t("system.free", { free: gb(folder.free_gb) }))),
    h("p", { class: "mono muted system-path" }, folder.path),
    !folder.is_writable && h("p", { class: "field-error" }, t("system.not_writable")),
  );
}

function linkList() {
  return h("ul", { class: "system-links" }, LINKS.map(([to, name]) => h("li", null, h("a", { href: to, target: "_blank", rel: "noopener" }, icon("link"), t(`system.link.${name}`)))));
}
