/** One axis of a grid: which setting, and its values. */

import { h, replace } from "../lib/dom.js";
import { fieldHelp, fieldTitle, t } from "../lib/i18n.js";
import { choiceLabel } from "../forms/values.js";
import { choose, labelled } from "../gallery/field.js";
import { hasWord, replacement, setting } from "./combos.js";
import { fileShelf } from "./pictures.js";
import { seedBox } from "./seeds.js";
import { ValueError, parseLines, parseNumbers, parseReplacement } from "./values.js";

const REPLACE = "prompt_replace";
const NONE = "";
/** Kinds of fields that have no few values to choose from, or that say nothing on their own. */
const LEFT_OUT = ["json"];
const OF_LINES = ["text", "longtext", "list", "sections", "loras"];
const YES_NO = ["true", "false"];

/**
 * @typedef {{field: string, text: string, picked: string[], files: {id: string, name: string}[]}} AxisState
 */

/** @returns {AxisState} */
export function noAxis(field = NONE) {
  return { field, text: "", picked: [], files: [] };
}

/**
 * The editor of an axis.
 *
 * @param {string} title
 * @param {AxisState} state
 * @param {{schema: any, models: any[]}} known
 * @param {(part: Partial<AxisState>) => void} onChange
 * @returns {{element: HTMLElement, setError: (text: string) => void}}
 */
export function axisEditor(title, state, known, onChange) {
  let error = (_text) => {};
  const place = h("div", { class: "batch-axis-values" });
  const select = labelled(t("batch.setting"), choose([[NONE, t("batch.no_axis")]], state.field, (field) => change({ ...noAxis(field) })));
  for (const group of groupsOf(known.schema)) {
    select.control.append(h("optgroup", { label: group.title }, group.fields.map(([name, words]) => h("option", { value: name, selected: name === state.field }, words))));
  }
  let current = state;
  const change = (part) => {
    current = { ...current, ...part };
    if ("field" in part) draw();
    onChange(current);
  };
  const draw = () => {
    const made = valuesEditor(current, known, change);
    error = made.setError;
    replace(place, made.element);
  };
  draw();
  const element = h("fieldset", { class: "card batch-axis" }, h("legend", { class: "visually-hidden" }, title), h("h2", { "aria-hidden": "true" }, title), h("div", { class: "batch-axis-body" }, select.element, place));
  return { element, setError: (text) => error(text) };
}

/** Settings to choose from, in the groups of the form. */
function groupsOf({ groups, fields }) {
  const replace_ = { title: t("batch.words"), fields: [[REPLACE, t("batch.replace")]] };
  const found = groups.map(({ id, title }) => ({
    title,
    fields: fields.filter((field) => field.group === id && !LEFT_OUT.includes(field.kind)).map((field) => [field.name, fieldTitle(field)]),
  }));
  return [replace_, ...found].filter((group) => group.fields.length);
}

const fieldOf = (schema, name) => schema.fields.find((field) => field.name === name);

/** What the values of a field are chosen from, or null. */
function choicesOf(field, models) {
  if (field.kind === "boolean") return YES_NO.map((value) => [value, t(`batch.${value}`)]);
  if (field.kind === "choice") return field.choices.map((value) => [value, choiceLabel(field, value)]);
  if (field.name === "model" && models.length) return models.map((model) => [model.id, model.title]);
  return null;
}

function valuesEditor(state, { schema, models }, change) {
  const nothing = { element: h("p", { class: "field-help" }, t("batch.axis_help")), setError() {} };
  if (state.field === NONE) return nothing;
  if (state.field === REPLACE) return textBox(state, change, { label: t("batch.replace"), help: t("batch.replace_help"), hint: t("batch.replace_hint"), rows: 0 });
  const field = fieldOf(schema, state.field);
  if (!field) return nothing;
  const choices = choicesOf(field, models);
  if (choices) return checks(state, field, choices, change);
  if (field.name === "seed") return seedBox(t("batch.values"), state.text, (text) => change({ text }), t("batch.numbers_help"));
  if (field.kind === "file") return files(state, field, change);
  const isLines = OF_LINES.includes(field.kind);
  const help = isLines ? t("batch.lines_help") : t("batch.numbers_help");
  return textBox(state, change, { label: t("batch.values"), help: `${help} ${fieldHelp(field)}`, hint: isLines ? "" : t("batch.numbers_hint"), rows: isLines ? 4 : 0 });
}

function textBox(state, change, { label, help, hint, rows }) {
  const props = { value: state.text, placeholder: hint, autocomplete: "off", oninput: (event) => change({ text: event.target.value }) };
  return labelled(label, rows ? h("textarea", { rows, ...props }) : h("input", { type: "text", ...props }), help);
}

function checks(state, field, choices, change) {
  const error = h("p", { class: "field-error", role: "alert" });
  const toggle = (value, isOn) => {
    const on = new Set(state.picked);
    if (isOn) on.add(value);
    else on.delete(value);
    state.picked = choices.map(([name]) => name).filter((name) => on.has(name));
    change({ picked: state.picked });
  };
  const box = ([value, words]) => h("label", { class: "batch-tick" }, h("input", { type: "checkbox", checked: state.picked.includes(value), onchange: (event) => toggle(value, event.target.checked) }), words);
  const element = h(
    "div",
    { class: "field", role: "group", "aria-label": t("batch.values_of", { name: fieldTitle(field) }) },
    h("span", { class: "label" }, t("batch.values")),
    h("div", { class: "batch-ticks" }, choices.map(box)),
    h("p", { class: "field-help" }, fieldHelp(field)),
    error,
  );
  return { element, setError: (text) => { error.textContent = text; } };
}

function files(state, field, change) {
  const accept = ["extend", "video"].includes(field.name) ? "video" : "picture";
  const shelf = fileShelf(state.files, (next) => change({ files: next }), { accept, label: fieldTitle(field) });
  return { element: shelf, setError() {} };
}

/**
 * An axis as combinations need it, or null where none is chosen or it has no values yet.
 *
 * @param {AxisState} state
 * @param {{schema: any, models: any[]}} known
 * @param {any} base the request, whose prompt a replacement needs
 * @returns {import("./combos.js").Axis | null}
 */
export function axisOf(state, { schema, models }, base) {
  if (state.field === NONE) return null;
  if (state.field === REPLACE) return state.text.trim() ? replacing(state.text, base) : null;
  const field = fieldOf(schema, state.field);
  if (!field) return null;
  const choices = choicesOf(field, models);
  const title = fieldTitle(field);
  const of = (values) => (values.length ? { title, values } : null);
  if (choices) {
    const words = new Map(choices);
    return of(state.picked.filter((value) => words.has(value)).map((value) => setting(field.name, field.kind === "boolean" ? value === "true" : value, words.get(value))));
  }
  if (field.kind === "file") return of(state.files.map(({ id, name }) => setting(field.name, id, name)));
  if (OF_LINES.includes(field.kind)) return of(parseLines(state.text).map((line) => setting(field.name, asValue(field, line), line)));
  return of(parseNumbers(state.text, field).map((value) => setting(field.name, value, String(value))));
}

function asValue(field, line) {
  if (field.kind === "list") return [line];
  return field.kind === "loras" ? line.split(",").map((word) => word.trim()).filter(Boolean) : line;
}

function replacing(text, base) {
  const { word, others } = parseReplacement(text);
  if (!hasWord(base, word)) throw new ValueError(t("batch.word_missing", { word }));
  return { title: `“${word}”`, values: others.map((other) => replacement(word, other)) };
}
