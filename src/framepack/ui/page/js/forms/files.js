/** Inputs for files: they are sent at once, and the value is what the server calls them. */

import { h, icon, replace } from "../lib/dom.js";
import { dropZone, pickFiles } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { fileName, send } from "./uploads.js";

/** What fields of a request take; others say it themselves. */
const ACCEPTED = {
  image: "picture", end_image: "picture", extend: "video", video: "video", audio: "sound",
  rife_weights: "safetensors", vae_weights: "safetensors",
};

/**
 * A file, or several.
 *
 * @param {import("./values.js").Field} field
 * @param {import("./inputs.js").Given} given
 * @returns {import("./control.js").Part}
 */
export function fileInput(field, given) {
  const accept = given.accept ?? ACCEPTED[field.name] ?? "picture or video";
  const places = h("ul", { class: "form-files" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("create.form.sending") });
  const button = h("button", { id: given.id, class: "button small", type: "button" }, icon("upload"), t("create.form.choose_file"));
  const box = h("div", { class: "form-drop" }, places, button, bar);
  /** @type {string[]} */
  let ids = [];
  const told = () => given.onInput(field.many ? ids : ids[0]);
  const take = async (files) => {
    bar.hidden = false;
    try {
      for (const file of field.many ? files : files.slice(0, 1)) {
        const id = await send(file, (share) => { bar.value = share; });
        ids = field.many ? [...ids, id] : [id];
        draw();
        told();
      }
    } catch (error) {
      given.onWrong(error.message);
      if (error.name !== "ApiError") report(error);
    } finally {
      bar.hidden = true;
    }
  };
  const drop = (id) => {
    ids = ids.filter((each) => each !== id);
    draw();
    told();
    button.focus();
  };
  const draw = () => replace(places, ids.map((id) => item(fileName(id), () => drop(id))));
  button.addEventListener("click", async () => {
    const files = await pickFiles({ accept, multiple: Boolean(field.many) });
    if (files.length) await take(files);
  });
  dropZone(box, { accept, onFiles: take });
  return {
    element: box,
    target: button,
    setValue: (value) => {
      ids = value === undefined || value === null ? [] : [value].flat();
      draw();
    },
    setDisabled: (isOff) => { button.disabled = isOff; },
  };
}

function item(name, remove) {
  const label = t("create.form.remove", { name });
  return h(
    "li",
    null,
    h("span", { class: "form-file-name", title: name }, name),
    h("button", { class: "button quiet small icon-only", type: "button", "aria-label": label, title: label, onclick: remove }, icon("close")),
  );
}
