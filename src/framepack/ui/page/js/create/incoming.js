/** Files that come to no place of their own: dropped anywhere, or pasted on Create. */

import { on } from "../lib/dom.js";
import { isOfKind, pastedFiles, suitable } from "../lib/files.js";
import { draft } from "../lib/draft.js";
import { report } from "../lib/notify.js";
import { go } from "../router.js";
import { send } from "../forms/uploads.js";
import { restoreFile } from "./settings_source.js";
import { slots } from "./slot.js";

/**
 * Take pictures and videos that are pasted.
 *
 * @param {HTMLElement} root of the page
 * @returns {() => void} ends it
 */
export function incoming(root) {
  return on(document, "paste", (event) => paste(event, root));
}

/**
 * A picture goes to its place or begins a new video; a video gives back its settings.
 *
 * @param {File} file
 * @param {string} [name] of the place
 */
export async function take(file, name = "image") {
  const isPicture = isOfKind(file, "picture") && !file.type.startsWith("video/");
  const slot = slots.get(name);
  if (isPicture && slot) await slot.take(file);
  else if (isOfKind(file, "video")) await restoreFile(file); // moving pictures may be ours
  else {
    draft.set("image", await send(file));
    go("create");
  }
}

function paste(event, root) {
  const files = pastedFiles(event);
  if (!files.length || document.querySelector("dialog[open]")) return;
  const [file] = suitable(files, "picture or video");
  if (!file) return;
  event.preventDefault();
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const slot = /** @type {HTMLElement | null} */ (focused?.closest(".create-slot"));
  take(file, slot?.dataset.field).catch(report);
}
