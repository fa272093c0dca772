/** Files that are dropped anywhere: videos give back their settings, pictures begin a new one. */

import { h, icon } from "../lib/dom.js";
import { dropZone } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";

/** Take them, whatever page is shown. */
export function acceptDrops() {
  document.body.append(h("div", { class: "shell-drop", "aria-hidden": "true" }, icon("upload"), t("shell.drop")));
  const onFiles = async ([file]) => {
    if (document.querySelector("dialog[open]")) return; // it missed a place of the dialog
    const { take } = await import("../create/incoming.js");
    await take(file);
  };
  dropZone(document.body, { accept: "picture or video", onFiles: (files) => onFiles(files).catch(report) });
}
