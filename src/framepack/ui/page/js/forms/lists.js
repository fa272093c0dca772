/** Inputs for lists of texts, for what sections say, and for objects. */

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { isEmpty, unsetText } from "./values.js";

/** @typedef {import("./values.js").Field} Field */
/** @typedef {import("./inputs.js").Given} Given */
/** @typedef {import("./control.js").Part} Part */

/** Texts, one on each line; with given choices, boxes to tick. @param {Field} field @param {Given} given @returns {Part} */
export function list(field, given) {
  if (given.choices) return ticked(field, given);
  const input = h("textarea", {
    id: given.id, rows: 2, spellcheck: false, placeholder: t("create.form.one_a_line"),
    oninput: () => given.onInput(lines(input.value)),
  });
  return {
    element: input,
    target: input,
    setValue: (value) => {
      const next = value ?? field.default ?? [];
      if (lines(input.value).join("\n") !== next.join("\n")) input.value = next.join("\n");
    },
    setDisabled: (isOff) => { input.disabled = isOff; },
  };
}

function lines(written) {
  return written.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** Several of some texts, in the order in which they were ticked. */
function ticked(field, given) {
  const group = h("div", { class: "form-ticks", role: "group", tabIndex: -1 });
  /** @type {string[]} */
  let chosen = [];
  const toggle = (value) => {
    chosen = chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value];
    draw();
    given.onInput(chosen);
  };
  const draw = () => {
    const known = given.choices ?? [];
    const strange = chosen.filter((value) => !known.some((each) => each.value === value)).map((value) => ({ value }));
    const boxes = [...known, ...strange].map(({ value, label, hint }) => h(
      "label",
      { class: "form-tick", title: hint },
      h("input", { type: "checkbox", checked: chosen.includes(value), onchange: () => toggle(value) }),
      label ?? value,
    ));
    const focused = [...group.querySelectorAll("input")].indexOf(document.activeElement);
    replace(group, boxes.length ? boxes : h("span", { class: "muted" }, unsetText(field)));
    if (focused >= 0) group.querySelectorAll("input")[focused]?.focus();
  };
  return {
    element: group,
    target: group,
    setValue: (value) => {
      chosen = value ?? field.default ?? [];
      draw();
    },
    setDisabled: (isOff) => { for (const box of group.querySelectorAll("input")) box.disabled = isOff; },
  };
}

/** An object, as JSON. @param {Field} field @param {Given} given @returns {Part} */
export function json(field, given) {
  return written(field, given, (text) => JSON.parse(text));
}

/** What sections say: in the words of the command line, or as JSON. @param {Field} field @param {Given} given @returns {Part} */
export function sections(field, given) {
  const read = (text) => (/^\[\s*\{|^\{/.test(text.trim()) ? JSON.parse(text) : text);
  return written(field, given, read);
}

/** @param {Field} field @param {Given} given @param {(text: string) => any} read @returns {Part} */
function written(field, given, read) {
  const input = h("textarea", {
    id: given.id, rows: 2, class: "mono", spellcheck: false, placeholder: unsetText(field),
  });
  input.addEventListener("input", () => {
    if (!input.value.trim()) return given.onInput(undefined);
    try {
      return given.onInput(read(input.value));
    } catch (error) {
      return given.onWrong(t("create.form.not_json", { reason: error.message }));
    }
  });
  return {
    element: input,
    target: input,
    setValue: (value) => {
      if (document.activeElement === input && value !== undefined) return;
      const next = value ?? field.default;
      input.value = isEmpty(next) ? "" : typeof next === "string" ? next : JSON.stringify(next, null, 1);
    },
    setDisabled: (isOff) => { input.disabled = isOff; },
  };
}
