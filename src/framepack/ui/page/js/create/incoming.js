/** Files that are dropped anywhere on the page, or pasted. */

import { h, icon, on } from "../lib/dom.js";
import { dropZone, isOfKind, pastedFiles, suitable } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { restoreFile } from "./settings_source.js";
import { slots } from "./slot.js";

/**
 * Take pictures and videos that come to the page.
 *
 * @param {HTMLElement} root
 * @returns {() => void} ends it
 */
export function incoming(root) {
  const veil = h("div", { class: "create-veil", "aria-hidden": "true" }, icon("upload"), t("create.drop_anywhere"));
  document.body.append(veil);
  const offs = [
    dropZone(document.body, { accept: "picture or video", onFiles: ([file]) => take(file) }),
    on(document, "paste", (event) => paste(event, root)),
  ];
  return () => {
    veil.remove();
    document.body.classList.remove("is-over");
    offs.forEach((off) => off());
  };
}

/** A picture goes to a place for pictures, a video gives back its settings. */
function take(file, name = "image") {
  const isVideo = file.type.startsWith("video/") || !isOfKind(file, "picture");
  return isVideo ? restoreFile(file) : slots.get(name)?.take(file);
}

function paste(event, root) {
  const files = pastedFiles(event);
  if (!files.length || document.querySelector("dialog[open]")) return;
  const [file] = suitable(files, "picture or video");
  if (!file) return;
  event.preventDefault();
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const slot = /** @type {HTMLElement | null} */ (focused?.closest(".create-slot"));
  take(file, slot?.dataset.field);
}
