/** One section of a video: play it, or make it again with something else. */

import { address } from "../lib/api.js";
import { h, icon, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { fileAddress } from "../forms/uploads.js";
import { pasteInto, pictureField } from "../timeline/picture.js";
import { makeModel } from "../timeline/model.js";
import { ordinal, span } from "../timeline/strip.js";
import { formDialog, promptField, seedField } from "../gallery/dialogs.js";
import { goTo } from "./actions.js";

/**
 * Ask how a section is to be made again, and go to the video that has it.
 *
 * @param {any} video a finished VideoObject
 * @param {any} plan that it was made by
 * @param {number} index of the section
 * @param {() => void} play the video from the section on
 */
export function redoDialog(video, plan, index, play) {
  const { cells } = makeModel(plan, plan.request);
  const cell = cells[index];
  const id = uniqueId("redo");
  const hint = cell.prompt?.value || t("timeline.prompt_placeholder");
  const prompt = promptField("", t("gallery.as_before"), { label: t("watch.redo_prompt"), hint });
  const picture = pictureOf(id);
  const dialog = formDialog({
    video,
    title: t("watch.redo_title", { n: cell.section }),
    action: "redo",
    fixed: { section: cell.section },
    head: headOf(video, cell, play),
    fields: [prompt, picture, seedField("", t("gallery.other_noise"))],
    foot: h("p", { class: "note" }, icon("info"), " ", consequence(cells, cell)),
    onMade: goTo,
  });
  pasteInto(dialog.element, picture.element);
}

/** What the section is now, and the way to see it. */
function headOf(video, cell, play) {
  const watch = (event) => {
    event.currentTarget.closest("dialog").close();
    play();
  };
  return h(
    "div",
    { class: "watch-redo-head" },
    h("img", { src: address(`/videos/${video.id}/sections/${cell.index}/picture`), alt: "" }),
    h(
      "div",
      { class: "stack tight" },
      h("p", { class: "muted" }, `${span(cell)} · ${t("timeline.rendered_as", { turn: ordinal(cell.turn) })}`),
      h("p", null, cell.text || t("timeline.no_text")),
      h("div", null, h("button", { class: "button small", type: "button", onclick: watch }, icon("play"), t("watch.play_from_here"))),
    ),
  );
}

/** Which other sections are made again, because they look back on this one. */
function consequence(cells, cell) {
  const others = cells.filter((each) => each.turn > cell.turn).map((each) => each.section);
  if (!others.length) return t("watch.redo_alone");
  const first = Math.min(...others);
  const last = Math.max(...others);
  return first === last ? t("watch.redo_one", { n: first }) : t("watch.redo_more", { first, last });
}

function pictureOf(name) {
  let upload = /** @type {string | null} */ (null);
  const element = h("div", { id: `${name}-picture` });
  const draw = () => {
    const field = pictureField({
      label: t("timeline.picture_here"),
      help: t("watch.redo_picture_help"),
      src: upload && fileAddress(upload),
      isOwn: upload !== null,
      onPicture: (given) => { upload = given; draw(); },
      onRemove: () => { upload = null; draw(); },
    });
    element.replaceChildren(field);
  };
  element.addEventListener("picturepaste", (event) => element.firstChild.dispatchEvent(new CustomEvent("picturepaste", { detail: event.detail })));
  draw();
  // As a field of the dialog: nothing in it can be wrong before it is sent.
  const control = { checkValidity: () => true, focus: () => element.querySelector("button")?.focus() };
  return { name: "image", element, control, setError: () => {}, value: () => upload ?? undefined };
}
