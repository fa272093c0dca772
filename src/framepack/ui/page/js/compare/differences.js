/** What two videos were asked for that differs, as a table. */

import { h } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { placeOf, titleOf, valueText } from "../watch/settings_view.js";

/** What came out, whether it was asked for or not. */
const OUTCOMES = ["model", "variant", "size", "seconds", "fps", "seed"];
const COVERED = new Set(["model", "variant", "width", "height", "duration_s", "fps", "seed"]);

/**
 * Rows of what differs: title and both values in words.
 *
 * @param {any} one a VideoObject
 * @param {any} other
 * @returns {[string, string, string][]}
 */
export function differing(one, other) {
  const rows = OUTCOMES.map((name) => [t(`compare.of.${name}`), String(one[name]), String(other[name])]);
  const names = [...new Set([...Object.keys(one.request), ...Object.keys(other.request)])].filter((name) => !COVERED.has(name));
  for (const name of names) rows.push([titleOf(name), words(name, one.request[name]), words(name, other.request[name])]);
  const took = (video) => (video.output.stats ? duration(video.output.stats.total_s) : "");
  return [...rows.filter(([, a, b]) => a !== b), [t("compare.of.took"), took(one), took(other)]].filter(([, a, b]) => a || b);
}

function words(name, value) {
  if (value === undefined || value === null) return "";
  if (name.startsWith("section_") && Array.isArray(value)) return value.map((cue) => cueText(cue)).join("\n");
  return valueText(value);
}

function cueText(cue) {
  if (typeof cue !== "object") return String(cue);
  const { section, every, until_section, time_s, until_s, line, num_lines, ...content } = cue;
  return `${placeOf(cue)}: ${Object.values(content).filter((each) => each !== null).map(valueText).join(", ")}`;
}

/** @param {any} one @param {any} other @returns {HTMLElement} */
export function differences(one, other) {
  const rows = differing(one, other);
  const cell = (text) => h("td", null, text || h("span", { class: "muted" }, t("compare.unset")));
  return h(
    "section",
    { class: "card stack tight compare-differences", "aria-labelledby": "compare-differences" },
    h("h2", { id: "compare-differences" }, t("compare.differences")),
    h(
      "div",
      { class: "table-scroll" },
      h(
        "table",
        null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, t("compare.setting")), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B"))),
        h("tbody", null, rows.map(([title, a, b]) => h("tr", null, h("th", { scope: "row" }, title), cell(a), cell(b)))),
      ),
    ),
  );
}
