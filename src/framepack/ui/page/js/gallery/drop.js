/** Videos of ours that are dropped on a page: their settings come back. */

import { h } from "../lib/dom.js";
import { dropZone } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { restore } from "./actions.js";

/**
 * Take videos that are dropped anywhere on the page.
 *
 * @returns {() => void} ends it
 */
export function restoreOnDrop() {
  const hint = h("div", { class: "gallery-drop", "aria-hidden": "true" }, h("p", null, t("gallery.drop_hint")));
  document.body.append(hint);
  const off = dropZone(document.body, {
    accept: "picture or video",
    onFiles: ([file]) => restore(file).catch(report),
  });
  return () => {
    off();
    document.body.classList.remove("is-over");
    hint.remove();
  };
}
