/** Inputs for texts, numbers, switches and choices. */

import { h, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { choiceLabel, isEmpty, shown, unsetText } from "./values.js";

const MOST_SLIDER_STEPS = 400;

/** @typedef {import("./values.js").Field} Field */
/** @typedef {import("./control.js").Options & {id: string, onInput: (value: any) => void, onWrong: (message: string) => void}} Given */
/** @typedef {import("./control.js").Part} Part */

/**
 * One line of text; a choice where choices are given.
 *
 * @param {Field} field @param {Given} given @returns {Part}
 */
export function text(field, given) {
  if (given.choices) return choice(field, given);
  const input = h("input", {
    id: given.id,
    type: field.secret ? "password" : "text",
    autocomplete: "off",
    spellcheck: false,
    placeholder: shown(field, field.default) || unsetText(field),
    oninput: () => given.onInput(input.value),
  });
  const setHint = (value) => { input.placeholder = shown(field, value) || unsetText(field); };
  return { ...typed(input), setHint };
}

/** Several lines of text. @param {Field} field @param {Given} given @returns {Part} */
export function longtext(field, given) {
  const input = h("textarea", {
    id: given.id,
    rows: given.rows ?? 2,
    placeholder: shown(field, field.default) || unsetText(field),
    oninput: () => given.onInput(input.value),
  });
  return typed(input);
}

/** What somebody types, as a part of a form. @param {any} input @returns {Part} */
function typed(input) {
  return {
    element: input,
    target: input,
    setValue: (value) => keepCaret(input, isEmpty(value) ? "" : String(value)),
    setDisabled: (isOff) => { input.disabled = isOff; },
  };
}

/** Write into an input without moving the caret of somebody who types in it. */
function keepCaret(input, value) {
  if (input.value !== value) input.value = value;
}

/** A number, with a slider where the range is short enough for one. @param {Field} field @param {Given} given @returns {Part} */
export function numeric(field, given) {
  const { input, slider } = numberInputs(field, given);
  let hint = field.default;
  const showSlider = (value) => { if (slider) slider.value = String(value ?? hint ?? slider.min); };
  input.addEventListener("input", () => {
    if (input.validity.badInput) return given.onWrong(t("create.form.number_needed"));
    const value = input.value === "" ? undefined : Number(input.value);
    showSlider(value);
    return given.onInput(value);
  });
  const show = (value) => {
    const next = value === undefined ? (field.default ?? "") : value;
    if (input.value === "" || Number(input.value) !== next) input.value = String(next);
  };
  input.addEventListener("blur", () => input.value === "" && !input.validity.badInput && show(undefined));
  stepByKeys(input, field, () => hint);
  slider?.addEventListener("input", () => {
    input.value = slider.value;
    given.onInput(Number(slider.value));
  });
  return {
    element: slider ? h("div", { class: "form-slider" }, slider, input) : input,
    target: input,
    setValue: (value) => {
      showSlider(value);
      const isBeingTyped = document.activeElement === input && input.value === "" && value === undefined;
      if (!isBeingTyped) show(value);
    },
    setHint: (value) => {
      hint = value ?? field.default;
      input.placeholder = given.placeholder ?? (shown(field, hint) || unsetText(field));
      if (input.value === "") showSlider(undefined);
    },
    setDisabled: (isOff) => {
      input.disabled = isOff;
      if (slider) slider.disabled = isOff;
    },
  };
}

function numberInputs(field, given) {
  const steps = field.step ?? (field.kind === "integer" ? 1 : "any");
  const input = h("input", {
    id: given.id,
    type: "number",
    inputMode: field.kind === "integer" ? "numeric" : "decimal",
    step: field.kind === "integer" && steps === 1 ? 1 : "any",
    min: field.min ?? "",
    max: field.max ?? "",
    placeholder: given.placeholder ?? (shown(field, field.default) || unsetText(field)),
  });
  const range = sliderRange(field, given);
  const slider = range && h("input", {
    type: "range", min: range[0], max: range[1], step: steps, tabIndex: -1, "aria-hidden": "true",
  });
  return { input, slider };
}

/** The arrow keys go by the handy step, which is no limit, and begin at what holds now. */
function stepByKeys(input, field, hint) {
  const step = field.step ?? 1;
  input.addEventListener("keydown", (event) => {
    const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!sign || input.disabled) return;
    event.preventDefault();
    const now = input.value === "" ? Number(hint() ?? field.min ?? 0) : Number(input.value);
    const next = Math.round((Math.floor(now / step + (sign < 0 ? 0.999999 : 0.000001)) + sign) * step * 1e6) / 1e6;
    const least = field.exclusive_min ? (field.min ?? 0) + step : (field.min ?? -Infinity);
    input.value = String(Math.min(Math.max(next, least), field.max ?? Infinity));
    input.dispatchEvent(new Event("input"));
  });
}

/** @param {Field} field @param {Given} given @returns {[number, number] | null} */
function sliderRange(field, given) {
  if (given.slider !== undefined) return given.slider || null;
  if (field.min === null || field.max === null || field.min === undefined || field.max === undefined) return null;
  const count = (field.max - field.min) / (field.step || 1);
  return count >= 2 && count <= MOST_SLIDER_STEPS && !field.exclusive_min ? [field.min, field.max] : null;
}

/** A switch; one whose default is decided elsewhere is a choice of three. @param {Field} field @param {Given} given @returns {Part} */
export function boolean(field, given) {
  const input = h("input", {
    id: given.id, type: "checkbox", onchange: () => given.onInput(input.checked),
  });
  return {
    element: input,
    target: input,
    setValue: (value) => { input.checked = Boolean(value ?? field.default); },
    setDisabled: (isOff) => { input.disabled = isOff; },
  };
}

/** One of several. @param {Field} field @param {Given} given @returns {Part} */
export function choice(field, given) {
  const choices = given.choices ?? (field.choices ?? []).map((value) => ({ value }));
  const select = h("select", { id: given.id });
  const label = (each) => each.label ?? choiceLabel(field, each.value);
  const hasUnset = field.default === null || field.default === undefined;
  const first = hasUnset && h("option", { value: "" }, unsetLabel(field));
  replace(select, first, choices.map((each) => h("option", { value: each.value }, label(each))));
  select.addEventListener("change", () => given.onInput(select.value));
  return {
    element: select,
    target: select,
    setValue: (value) => {
      const next = value ?? field.default ?? "";
      if (![...select.options].some((option) => option.value === next)) {
        select.append(h("option", { value: next }, choiceLabel(field, String(next))));
      }
      select.value = next;
    },
    setHint: (value) => {
      if (first) first.textContent = isEmpty(value) ? unsetLabel(field) : t("create.form.standard", { value });
    },
    setDisabled: (isOff) => { select.disabled = isOff; },
  };
}

function unsetLabel(field) {
  return unsetText(field) || t("create.form.standard_unknown");
}

/** A list of what a text may be, for its input. @param {HTMLInputElement} input @param {string[]} values */
export function suggest(input, values) {
  const id = uniqueId("suggestions");
  input.setAttribute("list", id);
  input.after(h("datalist", { id }, values.map((value) => h("option", { value }))));
}
