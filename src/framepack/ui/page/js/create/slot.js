/** A place for one picture, which shows the part of it that is used. */

import { fileAddress, fileName, send } from "../forms/uploads.js";
import { draft } from "../lib/draft.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { dropZone, isOfKind, pickFiles } from "../lib/files.js";
import { fieldHelp, fieldTitle, t } from "../lib/i18n.js";
import { announce } from "../lib/notify.js";
import { restoreFile } from "./settings_source.js";

/** Slots by the name of their field, so that what is pasted finds its place. @type {Map<string, {take: (file: File) => Promise<void>, element: HTMLElement}>} */
export const slots = new Map();

/**
 * A place for the picture of a field of the draft.
 *
 * @param {import("../forms/values.js").Field} field
 * @returns {{element: HTMLElement, setSize: (answer: any) => void, setError: (message: string | null) => void, focus: () => void, end: () => void}}
 */
export function slot(field) {
  const { element, stage, bar, caption, error, tools } = partsOf(field);
  let size = { width: 0, height: 0 };
  /** @type {string | null} */
  let drawn = null;
  const { take, pick } = taking(field, bar, error);
  const draw = () => {
    const upload = draft.request.value[field.name] ?? "";
    if (upload !== drawn) {
      drawn = upload;
      error.textContent = "";
      replace(tools, upload && toolButtons(field, pick));
      if (upload) replace(stage, picture(upload, () => describe(), (text) => { error.textContent = text; }));
      else replace(stage, invitation(field, pick));
    }
    describe();
  };
  const describe = () => {
    const shown = stage.querySelector("img");
    caption.textContent = drawn && shown?.naturalWidth ? cropped(stage, shown, size) : drawn ? "" : fieldHelp(field);
  };
  const onFiles = ([file]) => (isOfKind(file, "picture") ? take(file) : restoreFile(file));
  const offs = [draft.request.subscribe(draw, { now: true }), dropZone(element, { accept: "picture or video", onFiles })];
  slots.set(field.name, { take, element });
  return {
    element,
    setSize: (answer) => {
      size = answer ? { width: answer.plan.width, height: answer.plan.height } : size;
      describe();
    },
    setError: (message) => { error.textContent = message ?? ""; },
    focus: () => element.querySelector("button")?.focus(),
    end: () => {
      slots.delete(field.name);
      offs.forEach((off) => off());
    },
  };
}

function partsOf(field) {
  const id = uniqueId("slot");
  const stage = h("div", { class: "create-stage" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("create.form.sending") });
  const caption = h("p", { class: "field-help create-caption" });
  const error = h("p", { class: "field-error", role: "alert" });
  const tools = h("div", { class: "row create-slot-tools" });
  const element = h(
    "div",
    { class: "create-slot", role: "group", "aria-labelledby": id, dataset: { field: field.name } },
    h("div", { class: "form-head" }, h("span", { class: "label", id }, fieldTitle(field)), tools),
    stage, bar, caption, error,
  );
  return { element, stage, bar, caption, error, tools };
}

/** Ways to a picture for the draft: one that is there, or asked for. Of several, the last one given counts. */
function taking(field, bar, error) {
  let turn = 0;
  const take = async (file) => {
    turn += 1;
    const mine = turn;
    error.textContent = "";
    bar.value = 0;
    bar.hidden = false;
    try {
      const id = await send(file, (share) => { bar.value = share; });
      if (mine !== turn) return; // another one was given meanwhile
      draft.set(field.name, id);
      announce(t("create.pictures.taken", { name: file.name }));
    } catch (reason) {
      error.textContent = reason.message;
    } finally {
      bar.hidden = mine === turn || bar.hidden;
    }
  };
  const pick = async () => {
    const [file] = await pickFiles({ accept: "picture" });
    if (file) await take(file);
  };
  return { take, pick };
}

/** What an empty place shows: a button as large as it. */
function invitation(field, pick) {
  return h(
    "button",
    { class: "create-invite", type: "button", onclick: pick },
    icon("image"),
    h("span", null, t(`create.pictures.add.${field.name}`)),
    h("span", { class: "field-help" }, t("create.pictures.how")),
  );
}

function toolButtons(field, pick) {
  const button = (word, name, run) => {
    const label = t(`create.pictures.${word}.${field.name}`);
    return h("button", { class: "button quiet small icon-only", type: "button", title: label, "aria-label": label, onclick: run }, icon(name));
  };
  return [button("change", "edit", pick), button("remove", "trash", () => draft.set(field.name, undefined))];
}

/** The whole picture, with a frame around what is used of it. */
function picture(upload, onShown, onGone) {
  const name = fileName(upload);
  const image = h("img", { alt: t("create.pictures.alt", { name }), src: fileAddress(upload) });
  image.addEventListener("load", onShown);
  image.addEventListener("error", () => onGone(t("create.pictures.gone", { name })));
  return h("div", { class: "create-picture" }, image, h("div", { class: "create-crop", "aria-hidden": "true" }));
}

/**
 * Frame the part that covers the video's shape around the picture's middle, and say what it is.
 *
 * @returns {string}
 */
function cropped(stage, image, { width, height }) {
  const own = `${image.naturalWidth} × ${image.naturalHeight}`;
  const frame = stage.querySelector(".create-crop");
  frame.hidden = !width;
  if (!width) return own;
  const isWide = image.naturalWidth * height > width * image.naturalHeight;
  const across = (width / height) * (image.naturalHeight / image.naturalWidth);
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = isWide ? `${Math.min(across, 1) * 100}%` : "100%";
  const left = isWide ? 1 - across : 1 - 1 / across;
  const made = t("create.pictures.size", { width, height, own });
  if (left < 0.005) return made;
  const percent = Math.round(left * 100);
  return `${made} ${t(isWide ? "create.pictures.sides_cut" : "create.pictures.edges_cut", { percent })}`;
}
