/** Labelled controls of dialogs and toolbars. */

import { h, uniqueId } from "../lib/dom.js";

/**
 * A control with its label, help and error.
 *
 * @param {string} label
 * @param {any} control an input, a select or a textarea
 * @param {string} [help]
 * @returns {{element: any, control: any, setError: (text: string) => void}}
 */
export function labelled(label, control, help = "") {
  control.id ||= uniqueId("field");
  const helpId = `${control.id}-help`;
  const errorId = `${control.id}-error`;
  const error = h("p", { class: "field-error", id: errorId, role: "alert", hidden: true });
  control.setAttribute("aria-describedby", [help && helpId, errorId].filter(Boolean).join(" "));
  const setError = (text) => {
    error.textContent = text;
    error.hidden = !text;
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const element = h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    help && h("p", { class: "field-help", id: helpId }, help),
    error,
  );
  return { element, control, setError };
}

/**
 * A select.
 *
 * @param {[string, string][]} choices value and words
 * @param {string} value
 * @param {(value: string) => void} onChange
 */
export function choose(choices, value, onChange) {
  const options = choices.map(([name, words]) => h("option", { value: name, selected: name === value }, words));
  return h("select", { onchange: (event) => onChange(event.target.value) }, options);
}
