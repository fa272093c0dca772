/** A field of a form, made from what the server says of it. */

import { h, icon, replace, uniqueId, visuallyHidden } from "../lib/dom.js";
import { fieldHelp, fieldTitle, t } from "../lib/i18n.js";
import { fileInput } from "./files.js";
import { boolean, choice, longtext, numeric, text } from "./inputs.js";
import { json, list, sections } from "./lists.js";
import { loras } from "./loras.js";
import { kept, unitText } from "./values.js";

/** Kind of a field to what makes its input. */
const KINDS = {
  text, longtext, integer: numeric, number: numeric, boolean, choice, list, sections, json,
  file: fileInput, loras,
};

/**
 * @typedef {object} Part what an input of any kind is made of
 * @property {HTMLElement} element what is shown
 * @property {HTMLElement} target what the label names and the focus goes to
 * @property {(value: any) => void} setValue undefined shows the default
 * @property {(value: any) => void} [setHint] what no value stands for just now
 * @property {(isOff: boolean) => void} [setDisabled]
 */

/**
 * @typedef {object} Options
 * @property {any} [value] undefined is the default
 * @property {(value: any) => void} [onChange] undefined stands for "as if nothing was said"
 * @property {{value: string, label?: string, hint?: string}[]} [choices] to choose from, for a text or a list
 * @property {[number, number] | false} [slider] part of the range that a slider has, the number
 *   has all of it; false for no slider
 * @property {"picture" | "video" | "picture or video" | "sound" | "safetensors"} [accept] of a file
 * @property {boolean} [brief] the help is a hint of the label, not a line below
 * @property {boolean} [plain] brief, and without mark and button when it differs from its default
 * @property {string} [placeholder] of a number
 * @property {number} [rows] of a long text
 * @property {(value: any) => any} [keep] value to what is told; by default what is kept of it
 */

/**
 * Make a field: label, input, one line of help, a mark and a button when it differs from its
 * default, and a place for what is wrong with it.
 *
 * @param {import("./values.js").Field} field
 * @param {Options} [options]
 * @returns {{element: HTMLElement, target: HTMLElement, setValue: (value: any) => void,
 *   setError: (message: string | null) => void, setHint: (value: any) => void,
 *   setDisabled: (isOff: boolean) => void, focus: () => void}}
 */
export function control(field, options = {}) {
  const id = uniqueId(`field-${field.name}`);
  const keep = options.keep ?? ((value) => kept(field, value));
  const element = h("div", { class: `field form-field is-${field.kind}`, dataset: { field: field.name } });
  const reset = resetButton(field, () => tell(undefined, true));
  const error = h("p", { class: "field-error", id: `${id}-error`, "aria-live": "polite" });
  const tell = (value, isReset = false) => {
    const told = value === undefined ? undefined : keep(value);
    mark(told);
    if (isReset) {
      part.setValue(undefined);
      part.target.focus();
    }
    setError(null);
    options.onChange?.(told);
  };
  const mark = (value) => {
    const isChanged = value !== undefined && !options.plain;
    element.classList.toggle("is-changed", isChanged);
    reset.hidden = !isChanged;
  };
  const setError = (message) => {
    error.textContent = message ?? "";
    if (message) part.target.setAttribute("aria-invalid", "true");
    else part.target.removeAttribute("aria-invalid");
  };
  const part = KINDS[field.kind](field, { ...options, id, onInput: tell, onWrong: setError });
  part.target.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  arrange(element, field, { id, part, reset, error, isBrief: Boolean(options.plain || options.brief) });
  const setValue = (value) => {
    part.setValue(value ?? undefined);
    mark(value === undefined || value === null ? undefined : keep(value));
  };
  setValue(options.value);
  return {
    element,
    target: part.target,
    setValue,
    setError,
    setHint: (value) => part.setHint?.(value),
    setDisabled: (isOff) => part.setDisabled?.(isOff),
    focus: () => part.target.focus(),
  };
}

/** Label, input, help and error, in the order that suits the kind. */
function arrange(element, field, { id, part, reset, error, isBrief }) {
  const unit = unitText(field);
  const words = [fieldTitle(field), unit && h("span", { class: "form-unit" }, ` ${unit}`)];
  const help = h("p", { class: isBrief ? "visually-hidden" : "field-help", id: `${id}-help` }, fieldHelp(field));
  const isGroup = part.target.getAttribute("role") === "group";
  if (isGroup) part.target.setAttribute("aria-labelledby", `${id}-label`);
  const title = isBrief ? fieldHelp(field) : "";
  const label = isGroup
    ? h("span", { class: "label", id: `${id}-label`, title }, words)
    : h("label", { for: id, id: `${id}-label`, title }, words);
  if (field.kind === "boolean") {
    replace(element, h("div", { class: "form-head" }, h("div", { class: "check" }, part.element, label), reset), help, error);
    return;
  }
  replace(element, h("div", { class: "form-head" }, label, reset), part.element, help, error);
}

function resetButton(field, run) {
  const title = t("create.form.reset", { name: fieldTitle(field) });
  return h(
    "button",
    { class: "form-reset", type: "button", hidden: true, title, onclick: run },
    icon("retry"),
    visuallyHidden(title),
  );
}
