/** The start picture and the end picture, and what is made of a video instead. */

import { draft } from "../lib/draft.js";
import { h, icon, replace } from "../lib/dom.js";
import { fieldTitle, t } from "../lib/i18n.js";
import { plan } from "../lib/plan.js";
import { fileName } from "../forms/uploads.js";
import { slot } from "./slot.js";

const STRENGTHS = { image: "start_strength", end_image: "end_strength" };
const SOURCES = ["extend", "video"];

/**
 * Draw the pictures.
 *
 * @param {HTMLElement} place
 * @param {{fields: ReturnType<import("./field_set.js").fieldSet>}} given
 * @returns {() => void} ends it
 */
export function pictures(place, { fields }) {
  const start = slot(fields.field("image"));
  const end = slot(fields.field("end_image"));
  fields.add("image", start);
  fields.add("end_image", end);
  const loop = fields.make("loop", { brief: true });
  const strengths = Object.fromEntries(Object.entries(STRENGTHS).map(([name, strength]) => [name, fields.make(strength, { brief: true })]));
  const swap = swapButton();
  const sources = h("div", { class: "create-sources" });
  replace(
    place,
    sources,
    h(
      "div",
      { class: "create-slots" },
      h("div", { class: "stack tight" }, start.element, strengths.image.element),
      swap,
      h("div", { class: "stack tight" }, end.element, strengths.end_image.element, loop.element),
    ),
  );
  const show = () => {
    const request = draft.request.value;
    const has = (name) => name in request;
    replace(sources, SOURCES.filter(has).map((name) => source(fields.field(name), request[name])));
    strengths.image.element.hidden = !has("image") && !has("start_strength");
    strengths.end_image.element.hidden = !has("end_image") && !has("end_strength") && !has("loop");
    loop.element.hidden = !has("loop") && (has("end_image") || !has("image"));
    swap.disabled = !has("image") && !has("end_image");
  };
  const offs = [draft.request.subscribe(show, { now: true }), plan.subscribe((now) => {
    start.setSize(now.answer);
    end.setSize(now.answer);
  }, { now: true }), start.end, end.end];
  return () => offs.forEach((off) => off());
}

function swapButton() {
  const swap = () => {
    const { image, end_image: end, ...rest } = draft.request.value;
    draft.request.value = { ...rest, ...(end && { image: end }), ...(image && { end_image: image }) };
  };
  const label = t("create.pictures.swap");
  return h("button", { class: "button quiet icon-only create-swap", type: "button", title: label, "aria-label": label, onclick: swap }, icon("swap"));
}

/** A video that is gone on from or drawn anew, above the pictures. */
function source(field, id) {
  const name = fileName(id);
  const remove = t("create.form.remove", { name });
  return h(
    "div",
    { class: "note row" },
    icon("video"),
    h("span", { class: "grow" }, h("strong", null, fieldTitle(field)), ` ${name}`),
    h("button", { class: "button small quiet icon-only", type: "button", title: remove, "aria-label": remove, onclick: () => draft.set(field.name, undefined) }, icon("close")),
  );
}
