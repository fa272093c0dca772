/** One section of a video: play it, or make it again with something else. */

import { address, api } from "../lib/api.js";
import { h, icon, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { pasteInto, pictureField, showPicture } from "../timeline/picture.js";
import { makeModel } from "../timeline/model.js";
import { ordinal, span } from "../timeline/strip.js";
import { ask, labelled } from "./actions.js";

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
  const prompt = h("textarea", { id: `${id}-prompt`, rows: 3, placeholder: cell.prompt?.value || t("timeline.prompt_placeholder") });
  const seed = h("input", { id: `${id}-seed`, type: "number", min: 0, max: 2 ** 32 - 1, step: 1, inputMode: "numeric", placeholder: t("watch.redo_any_seed") });
  const picture = pictureOf(id);
  const content = h(
    "div",
    { class: "stack watch-redo" },
    h(
      "div",
      { class: "watch-redo-head" },
      h("img", { src: address(`/videos/${video.id}/sections/${index}/picture`), alt: "" }),
      h(
        "div",
        { class: "stack tight" },
        h("p", { class: "muted" }, `${span(cell)} · ${t("timeline.rendered_as", { turn: ordinal(cell.turn) })}`),
        h("p", null, cell.text || t("timeline.no_text")),
        h("div", null, h("button", { class: "button small", type: "button", onclick: (event) => { event.currentTarget.closest("dialog").close(); play(); } }, icon("play"), t("watch.play_from_here"))),
      ),
    ),
    labelled(prompt, t("watch.redo_prompt")),
    picture.element,
    h("div", { class: "field" }, h("label", { for: seed.id }, t("timeline.seed_here")), seed),
    h("p", { class: "note" }, icon("info"), " ", consequence(cells, cell)),
  );
  pasteInto(content, picture.element);
  const body = () => ({
    section: cell.section,
    ...(prompt.value.trim() ? { prompt: prompt.value.trim() } : {}),
    ...(picture.id() ? { image: picture.id() } : {}),
    ...(seed.value ? { seed: Number(seed.value) } : {}),
  });
  ask(t("watch.redo_title", { n: cell.section }), t("watch.redo"), content, () => seed.reportValidity(), () => api.post(`/videos/${video.id}/redo`, body()));
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
  let upload = null;
  const element = h("div", { id: `${name}-picture` });
  const draw = () => {
    const field = pictureField({
      label: t("timeline.picture_here"),
      help: t("watch.redo_picture_help"),
      src: upload?.src ?? null,
      isOwn: upload !== null,
      onPicture: (given) => { upload = { id: given.id, src: address(`/uploads/${given.id}/content`) }; draw(); },
      onRemove: () => { upload = null; draw(); },
    });
    element.replaceChildren(field);
    showPicture(field, upload?.src ?? null);
  };
  element.addEventListener("picturepaste", (event) => element.firstChild.dispatchEvent(new CustomEvent("picturepaste", { detail: event.detail })));
  draw();
  return { element, id: () => upload?.id };
}
