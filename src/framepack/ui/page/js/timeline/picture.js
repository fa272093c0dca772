/** A picture for a section: dropped, pasted or chosen, sent ahead, and shown small. */

import { h, icon, uniqueId } from "../lib/dom.js";
import { dropZone, pastedFiles, pickFiles, suitable } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { send } from "../forms/uploads.js";

/**
 * A field for one picture.
 *
 * @param {object} options
 * @param {string} options.label
 * @param {string} [options.help]
 * @param {string | null} options.src the picture that is there, if any
 * @param {boolean} options.isOwn it can be taken away here
 * @param {(upload: string) => void} options.onPicture its id
 * @param {() => void} options.onRemove
 * @returns {HTMLElement}
 */
export function pictureField({ label, help, src, isOwn, onPicture, onRemove }) {
  const id = uniqueId("picture");
  const frame = h("div", { class: "timeline-drop-picture" }, src ? h("img", { src, alt: "" }) : icon("image"));
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("timeline.uploading") });
  const take = async (files) => {
    if (!files.length) return;
    bar.hidden = false;
    try {
      const id = await send(files[0], (share) => { bar.value = share; });
      announce(t("timeline.picture_there", { name: files[0].name }));
      onPicture(id);
    } catch (error) {
      report(error);
    } finally {
      bar.hidden = true;
    }
  };
  const choose = h(
    "button",
    { class: "button small", type: "button", "aria-describedby": help ? `${id}-help` : null, onclick: async () => take((await pickFiles({ accept: "picture" })).slice(0, 1)) },
    icon("upload"), t("timeline.choose_picture"),
  );
  const remove = isOwn && h("button", { class: "button quiet small", type: "button", onclick: onRemove }, icon("close"), t("timeline.remove_picture"));
  const zone = h("div", { class: "timeline-drop" }, frame, h("div", { class: "stack tight" }, h("div", { class: "row" }, choose, remove), bar));
  dropZone(zone, { accept: "picture", onFiles: take });
  const field = h("div", { class: "field", role: "group", "aria-label": label }, h("span", { class: "label" }, label), zone, help && h("p", { class: "field-help", id: `${id}-help` }, help));
  field.addEventListener("picturepaste", (event) => take(event.detail));
  return field;
}

/** Give pictures that are pasted anywhere in an element to a field in it. @param {HTMLElement} element @param {HTMLElement} field */
export function pasteInto(element, field) {
  element.addEventListener("paste", (event) => {
    const files = suitable(pastedFiles(event), "picture");
    if (!files.length) return;
    event.preventDefault();
    field.dispatchEvent(new CustomEvent("picturepaste", { detail: files }));
  });
}
