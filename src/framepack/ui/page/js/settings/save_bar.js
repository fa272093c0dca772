/** The bar that says what will change, and changes it. */

import { h, icon, replace } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { changes } from "./changes.js";

/**
 * @param {{describe: (name: string, value: any) => string, discard: () => void, save: () => Promise<void>}} options
 */
export function saveBar({ describe, discard, save }) {
  const count = h("p", { class: "settings-count", role: "status" });
  const list = h("ul", { class: "settings-changes" });
  const saveButton = h("button", { class: "button primary", type: "button", onclick: () => run().catch(report) }, icon("save"), t("settings.save"));
  const run = async () => {
    saveButton.disabled = true;
    try {
      await save();
    } finally {
      saveButton.disabled = false;
    }
  };
  const element = h(
    "section",
    { class: "settings-bar", "aria-label": t("settings.to_save") },
    h("div", { class: "grow" }, count, list),
    h("div", { class: "row" }, h("button", { class: "button", type: "button", onclick: discard }, t("settings.discard")), saveButton),
  );
  return {
    element,
    draw() {
      element.classList.toggle("is-empty", changes.count === 0);
      count.textContent = changes.count ? tn("settings.changes", changes.count) : "";
      replace(list, changes.entries().map(([name, value]) => h("li", null, describe(name, value))));
    },
  };
}
