/** The editor of one recipe: a name, lines with numbers, and what the server says of them. */

import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { h, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";

const LINE = /\bline (\d+)\b/;

/**
 * Open the editor.
 *
 * @param {{name: string, text: string, onSaved: () => Promise<void>}} options `name` is "" for a
 *   new recipe
 */
export function editRecipe({ name, text, onSaved }) {
  const form = formOf(name, text);
  const { nameInput, area, gutter } = form;
  const { clear, tell, wantName } = complaints(form);
  area.addEventListener("input", clear);
  nameInput.addEventListener("input", clear);
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  const save = async (close) => {
    clear();
    const said = nameInput.value.trim();
    if (!said) {
      wantName();
      return;
    }
    try {
      await api.put(`/recipes/${encodeURIComponent(said)}`, { text: area.value });
    } catch (error) {
      tell(error);
      return;
    }
    close();
    notify.success(t("models.recipe_saved", { name: said }));
    await onSaved();
  };
  clear();
  openDialog({
    title: name ? t("models.edit_recipe", { name }) : t("models.new_recipe"),
    wide: true,
    content: form.element,
    actions: [{ label: t("shell.cancel") }, { label: t("models.save"), kind: "primary", run: save }],
  });
  (name ? area : nameInput).focus();
}

function formOf(name, text) {
  const ids = { name: uniqueId("recipe"), text: uniqueId("recipe"), error: uniqueId("recipe") };
  const nameInput = h("input", { id: ids.name, value: name, readOnly: name !== "", autocomplete: "off", spellcheck: false, "aria-describedby": `${ids.name}-help` });
  const area = h("textarea", { id: ids.text, class: "mono models-code", rows: 22, spellcheck: false, wrap: "off", value: text, "aria-describedby": ids.error });
  const gutter = h("div", { class: "mono models-gutter", "aria-hidden": "true" });
  const problem = h("p", { class: "field-error", id: ids.error, role: "alert" });
  const element = h(
    "div",
    { class: "stack tight" },
    h("div", { class: "field" }, h("label", { for: ids.name }, t("models.recipe_name")), nameInput, h("p", { class: "field-help", id: `${ids.name}-help` }, t("models.recipe_name_help"))),
    h("div", { class: "field" }, h("label", { for: ids.text }, t("models.recipe_text")), h("div", { class: "models-editor" }, gutter, area)),
    problem,
  );
  return { element, nameInput, area, gutter, problem };
}

/** What is wrong is said under the form, and marked in the gutter where a line is meant. */
function complaints({ nameInput, area, gutter, problem }) {
  const number = (wrong) => {
    const count = area.value.split("\n").length;
    replace(gutter, Array.from({ length: count }, (_, index) => h("div", { class: index + 1 === wrong ? "wrong" : "" }, String(index + 1))));
  };
  return {
    clear: () => {
      problem.textContent = "";
      for (const each of [area, nameInput]) each.removeAttribute("aria-invalid");
      number(0);
    },
    tell: (error) => {
      problem.textContent = error.message;
      const wrong = Number(LINE.exec(error.message)?.[1] ?? 0);
      number(wrong);
      (error.message.startsWith("name is ") ? nameInput : area).setAttribute("aria-invalid", "true");
      if (wrong) selectLine(area, wrong);
    },
    wantName: () => {
      problem.textContent = t("models.recipe_name_needed");
      nameInput.setAttribute("aria-invalid", "true");
      nameInput.focus();
    },
  };
}

/** Select a line, so that it is seen. @param {HTMLTextAreaElement} area @param {number} line from 1 */
function selectLine(area, line) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
}
