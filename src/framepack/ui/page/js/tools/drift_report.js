/** What was measured along a video: one number, the plot, each section, and how to read them. */

import { openDialog } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/** From where on a score has its word. */
const WORDS = [[0.35, "strong"], [0.15, "clear"], [0.05, "slight"], [0, "none"]];
const COLUMNS = ["sharpness", "contrast", "saturation", "colour", "motion"];
const SHARES = new Set(["sharpness", "detail", "contrast", "motion"]);

/**
 * @param {string} plot address of the picture
 * @param {any} found the report
 * @returns {HTMLElement}
 */
export function driftReport(plot, found) {
  const word = WORDS.find(([least]) => found.drift.score >= least)[1];
  const large = () => openDialog({ title: t("tools.drift.plot"), content: h("img", { src: plot, alt: t("tools.drift.plot_alt") }), wide: true });
  return h(
    "div",
    { class: "stack tight" },
    h("div", { class: "tools-score" }, h("strong", null, number(found.drift.score, 2)), h("div", null, h("p", { class: "tools-score-word" }, t(`tools.drift.${word}`)), h("p", { class: "muted" }, t("tools.drift.ends")))),
    h("button", { class: "tools-plot", type: "button", "aria-label": t("tools.drift.enlarge"), onclick: large }, h("img", { src: plot, alt: t("tools.drift.plot_alt"), loading: "lazy" })),
    h("details", null, h("summary", null, t("tools.drift.numbers")), sectionTable(found)),
    h("details", null, h("summary", null, t("tools.drift.reading")), howToRead(found)),
  );
}

function sectionTable(found) {
  const head = ["section", "seconds", ...COLUMNS, "score"].map((name) => h("th", { scope: "col" }, t(`tools.drift.column.${name}`)));
  const rows = found.sections.map((section, index) => h(
    "tr",
    null,
    h("th", { scope: "row" }, String(index)),
    h("td", null, `${number(section.start_frame / found.fps, 2)}–${number(section.end_frame / found.fps, 2)}`),
    COLUMNS.map((name) => h("td", null, change(name, section.drift[name]))),
    h("td", null, number(section.drift.score, 2)),
  ));
  return h("div", { class: "table-scroll tools-numbers", tabIndex: 0, role: "region", "aria-label": t("tools.drift.numbers") }, h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
}

/** A change: shares in per cent, the rest in units of CIELAB. */
function change(name, value) {
  if (!SHARES.has(name)) return number(value, 1);
  const percent = Math.round(value * 100);
  return `${percent > 0 ? "+" : ""}${number(percent)} %`;
}

function howToRead(found) {
  const measures = ["sharpness", "contrast", "saturation", "colour", "motion"];
  return h(
    "div",
    { class: "stack tight tools-reading" },
    h("p", null, t("tools.drift.read_score")),
    h("dl", null, measures.map((name) => h("div", null, h("dt", null, t(`tools.drift.column.${name}`)), h("dd", null, t(`tools.drift.read.${name}`))))),
    h("p", null, t(found.boundaries === "file" ? "tools.drift.read_own" : "tools.drift.read_equal")),
    h("p", null, t("tools.drift.read_compare")),
  );
}
