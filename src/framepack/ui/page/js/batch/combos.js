/** Every combination of the values of some axes, as requests. */

import { t } from "../lib/i18n.js";

/** Between the parts of a label: "Steps: 4 · Seed: 7". The page of a group reads them back. */
export const JOIN = " · ";
const NAMES = ": ";
const LONGEST = 52; // three of them, with their titles, fit into a label

/**
 * @typedef {object} Axis
 * @property {string} title
 * @property {{label: string, apply: (request: any) => any, isLate?: boolean}[]} values late ones
 *   change what the others have set
 *
 * @typedef {object} Combo
 * @property {string} label
 * @property {any} request
 */

/**
 * Combine axes; the last one changes fastest.
 *
 * @param {any} base the request that they change
 * @param {Axis[]} axes
 * @returns {Combo[]}
 */
export function combine(base, axes) {
  let found = [{ parts: [], values: [] }];
  for (const axis of axes) {
    const names = uniqueLabels(axis.values.map((value) => value.label));
    const add = ({ parts, values }) =>
      axis.values.map((value, index) => ({ parts: [...parts, `${plain(axis.title)}${NAMES}${names[index]}`], values: [...values, value] }));
    found = found.flatMap(add);
  }
  return found.map(({ parts, values }) => ({ label: parts.join(JOIN), request: applied(base, values) }));
}

function applied(base, values) {
  const inTurn = [...values].sort((a, b) => Number(a.isLate ?? false) - Number(b.isLate ?? false));
  return inTurn.reduce((request, value) => value.apply(request), base);
}

/** How many combinations there are. @param {Axis[]} axes */
export function countOf(axes) {
  return axes.reduce((product, axis) => product * axis.values.length, 1);
}

/** Titles and values of a label. @param {string} label @returns {{title: string, value: string}[]} */
export function partsOf(label) {
  if (!label) return [];
  return label.split(JOIN).map((part) => {
    const at = part.indexOf(NAMES);
    return at < 0 ? { title: "", value: part } : { title: part.slice(0, at), value: part.slice(at + NAMES.length) };
  });
}

function plain(text) {
  return text.replaceAll("\n", " ").replaceAll("·", "/").trim();
}

/** Labels that are short and differ from each other. */
function uniqueLabels(labels) {
  const seen = new Map();
  return labels.map((label) => {
    const text = plain(label) || t("batch.nothing");
    const short = text.length > LONGEST ? `${text.slice(0, LONGEST - 6).trim()}…` : text;
    const count = (seen.get(short) ?? 0) + 1;
    seen.set(short, count);
    return count === 1 ? short : `${short} (${count})`;
  });
}

/** A value that is set in a request. @param {string} name @param {any} value @param {string} label */
export function setting(name, value, label) {
  return { label, apply: (request) => ({ ...request, [name]: value }) };
}

/** A word of all prompts replaced. @param {string} word @param {string} other */
export function replacement(word, other) {
  const changed = (text) => text.replaceAll(word, other);
  const apply = (request) => ({
    ...request,
    prompt: changed(request.prompt ?? ""),
    ...(request.section_prompts && { section_prompts: inPrompts(request.section_prompts, changed) }),
  });
  return { label: other || t("batch.without", { word }), apply, isLate: true };
}

function inPrompts(cues, changed) {
  if (typeof cues === "string") return changed(cues);
  return cues.map((cue) => (typeof cue === "string" ? changed(cue) : { ...cue, prompt: changed(cue.prompt ?? "") }));
}

/** Whether a word is in a request's prompts. @param {any} request @param {string} word */
export function hasWord(request, word) {
  return JSON.stringify([request.prompt ?? "", request.section_prompts ?? ""]).includes(JSON.stringify(word).slice(1, -1));
}
