/** The licence of a model's weights: shown in full, and agreed to before anything is fetched. */

import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { h, uniqueId } from "../lib/dom.js";
import { gb } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/** The terms, which can be scrolled by keyboard too. @param {{name: string | null, text: string, url: string | null, facts: string[]}} licence */
function terms(licence) {
  if (!licence.name) return null;
  const said = licence.facts.length ? h("ul", null, licence.facts.map((fact) => h("li", null, fact))) : h("p", null, licence.text);
  return [
    h("h3", null, licence.name),
    h("div", { class: "models-terms", tabIndex: 0, role: "region", "aria-label": licence.name }, said),
    licence.url && h("p", null, t("models.licence_counts"), " ", h("a", { href: licence.url, target: "_blank", rel: "noopener" }, t("models.licence_source"))),
  ];
}

/** Show the terms only. @param {any} model */
export async function showLicence(model) {
  const licence = await api.get(`/models/${model.id}/licence`);
  openDialog({ title: t("models.licence_of", { title: model.title }), content: h("div", { class: "stack tight" }, terms(licence)), actions: [{ label: t("shell.close") }], wide: true });
}

/**
 * Have a model downloaded, once its licence was read and agreed to.
 *
 * @param {any} model
 * @returns {Promise<any>} the task; null when it was not begun
 */
export async function askAndDownload(model) {
  const licence = await api.get(`/models/${model.id}/licence`);
  return new Promise((resolve) => {
    let task = null;
    const box = h("input", { type: "checkbox", id: uniqueId("consent"), checked: licence.accepted || !licence.name });
    const problem = h("p", { class: "field-error", role: "alert" });
    const begin = async (close) => {
      if (!box.checked) {
        problem.textContent = t("models.consent_needed");
        box.focus();
        return;
      }
      try {
        task = await api.post(`/models/${model.id}/download`, { accept_licence: true });
        close();
      } catch (error) {
        problem.textContent = error.message;
      }
    };
    openDialog({
      title: t("models.download_title", { title: model.title }),
      wide: true,
      content: h(
        "div",
        { class: "stack tight" },
        h("p", null, model.size_gb ? t("models.download_text", { size: gb(model.size_gb) }) : t("models.download_text_unsized")),
        terms(licence),
        licence.name && h("label", { class: "check", for: box.id }, box, h("span", null, t("models.consent"))),
        problem,
      ),
      actions: [{ label: t("shell.cancel") }, { label: t("models.download"), kind: "primary", run: begin }],
      onClose: () => resolve(task),
    });
  });
}
