/** Many pictures at once: dropped, pasted or chosen, and sent to the server one by one. */

import { h, icon, replace } from "../lib/dom.js";
import { dropZone, pastedFiles, pickFiles, suitable } from "../lib/files.js";
import { t, tn } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { fileAddress, send } from "../forms/uploads.js";

/**
 * @typedef {{id: string, name: string}} Sent
 *
 * @param {Sent[]} first
 * @param {(files: Sent[]) => void} onChange
 * @param {{accept?: "picture" | "video", label?: string}} [options]
 * @returns {HTMLElement}
 */
export function fileShelf(first, onChange, { accept = "picture", label = t("batch.pictures") } = {}) {
  let files = first;
  const shelf = h("ul", { class: "batch-shelf", "aria-label": label });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("batch.sending") });
  const choose = h("button", { class: "button", type: "button" }, icon("upload"), t(`batch.choose_${accept}`));
  const said = h("p", { class: "field-help", role: "status" });
  const box = h("div", { class: "batch-drop" }, shelf, h("div", { class: "row" }, choose, h("span", { class: "muted" }, t("batch.or_drop"))), bar, said);
  const change = (next) => {
    files = next;
    draw();
    onChange(files);
  };
  const take = async (given) => {
    bar.hidden = false;
    for (const [index, file] of given.entries()) {
      try {
        const id = await send(file, (share) => { bar.value = (index + share) / given.length; });
        change([...files, { id, name: file.name }]);
      } catch (error) {
        report(error);
      }
    }
    bar.hidden = true;
  };
  const remove = (place) => {
    change(files.filter((_, index) => index !== place));
    (shelf.querySelectorAll("button")[Math.min(place, files.length - 1)] ?? choose).focus();
  };
  const draw = () => {
    replace(shelf, files.map((file, index) => item(file, accept, () => remove(index))));
    said.textContent = files.length ? tn("batch.files", files.length) : "";
  };
  choose.addEventListener("click", async () => take(await pickFiles({ accept, multiple: true })));
  dropZone(box, { accept, onFiles: take });
  box.addEventListener("paste", (event) => take(suitable(pastedFiles(event), accept)));
  draw();
  return box;
}

function item({ id, name }, accept, remove) {
  const words = t("batch.remove", { name });
  const blank = h("span", { class: "gallery-blank" }, icon(accept === "picture" ? "image" : "video"));
  const picture = accept === "picture" && h("img", { src: fileAddress(id), alt: "", onerror: () => picture.replaceWith(blank) });
  return h(
    "li",
    { class: "batch-file" },
    picture || blank,
    h("span", { class: "batch-file-name", title: name }, name),
    h("button", { class: "button icon-only small", type: "button", "aria-label": words, title: words, onclick: remove }, icon("close")),
  );
}
