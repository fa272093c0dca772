/** The clipboard, where the page may use it: not without https, nor where the browser forbids it. */

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { notify } from "./notify.js";

/**
 * Copy a text, or show it to be copied by hand.
 *
 * @param {string} text
 * @param {{title: string, done: string, note?: string}} words `title` says what it is
 */
export async function copyText(text, { title, done, note }) {
  try {
    await navigator.clipboard.writeText(text);
    notify.success(done);
  } catch {
    const area = h("textarea", { class: "mono", rows: Math.min(text.split("\n").length + 1, 18), readOnly: true, "aria-label": title, value: text });
    openDialog({ title, content: h("div", { class: "stack tight" }, h("p", null, t("shell.copy_by_hand")), area, note && h("p", { class: "field-help" }, note)), wide: text.includes("\n") });
    area.select();
  }
}
