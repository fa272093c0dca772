/** The editor of one section: its prompt, its picture and its seed. */

import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { randomSeed } from "../lib/random.js";
import { fullText } from "./cues.js";
import { pasteInto, pictureField } from "./picture.js";
import { ordinal, span } from "./strip.js";

/**
 * @typedef {object} Editing
 * @property {(kind: import("./cues.js").Kind, value: any, until?: number | null) => void} set
 * @property {(name: string, value: any) => void} setField a field of the whole request
 * @property {(value: string) => string | null} pictureOf
 * @property {() => void} clear all that this section says of its own
 * @property {(index: number) => void} goTo another section
 * @property {() => void} close
 */

/**
 * Build the editor of a section.
 *
 * @param {import("./model.js").Model} model
 * @param {number} index
 * @param {Editing} editing
 * @returns {{element: HTMLElement, update: (model: import("./model.js").Model) => void, focus: () => void}}
 */
export function sectionEditor(model, index, editing) {
  const cell = model.cells[index];
  const id = uniqueId("section");
  const isOwn = (kind, now) => now.cells[index][kind]?.from === now.cells[index].section;
  const prompt = promptField(cell, id, editing);
  const mode = modeField(id, editing);
  const hold = holdField(id, (until) => editing.set("prompt", prompt.input.value, until));
  const full = h("p", { class: "timeline-full" });
  const pictures = h("div");
  const seed = seedField(id, editing);
  const clear = h("button", { class: "button quiet small", type: "button", onclick: editing.clear }, icon("trash"), t("timeline.clear_all"));
  const element = h(
    "section",
    { class: "card timeline-editor", "aria-labelledby": `${id}-title` },
    editorHead(model, index, id, editing, clear),
    h(
      "div",
      { class: "timeline-editor-body" },
      h("div", { class: "stack tight" }, prompt.field, h("div", { class: "timeline-pair" }, mode.field, hold.field), full),
      h("div", { class: "stack tight" }, pictures, seed.field),
    ),
  );
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    editing.close();
  });
  pasteInto(element, pictures);
  pictures.addEventListener("picturepaste", (event) => pictures.firstChild.dispatchEvent(new CustomEvent("picturepaste", { detail: event.detail })));
  let shownPicture;
  const update = (now) => {
    const mine = now.cells[index];
    const said = mine.prompt;
    const typed = isOwn("prompt", now) ? said.value : "";
    if (prompt.input.value.trim() !== typed) prompt.input.value = typed;
    prompt.input.placeholder = said && !typed ? said.value : t("timeline.prompt_placeholder");
    mode.input.value = now.mode;
    hold.update(now, index, Boolean(typed));
    describeText(full, mine, now);
    const picture = JSON.stringify(mine.image);
    if (picture !== shownPicture) replace(pictures, sectionPicture(mine, editing));
    shownPicture = picture;
    seed.update(mine.seed?.from === mine.section || mine.seed ? mine.seed.value : null);
    clear.hidden = !["prompt", "image", "seed"].some((kind) => isOwn(kind, now));
  };
  update(model);
  return { element, update, focus: () => prompt.input.focus() };
}

function editorHead(model, index, id, editing, clear) {
  const cell = model.cells[index];
  const step = (by, name) =>
    h("button", { class: "button quiet small icon-only", type: "button", "aria-label": t(`timeline.${name}`), title: t(`timeline.${name}`), disabled: !(model.cells[index + by]?.section >= 0), onclick: () => editing.goTo(index + by) }, icon(by < 0 ? "left" : "right"));
  return h(
    "div",
    { class: "row apart timeline-editor-head" },
    h(
      "div",
      { class: "row" },
      h("h3", { id: `${id}-title` }, t("timeline.section", { n: cell.section })),
      h("span", { class: "muted" }, `${span(cell)} · ${t("timeline.rendered_as", { turn: ordinal(cell.turn) })}`),
    ),
    h(
      "div",
      { class: "row" }, clear, step(-1, "previous"), step(1, "next"),
      h("button", { class: "button quiet small icon-only", type: "button", "aria-label": t("timeline.close_editor"), title: t("timeline.close_editor"), onclick: editing.close }, icon("close")),
    ),
  );
}

function promptField(cell, id, editing) {
  const input = h("textarea", { id: `${id}-prompt`, rows: 3, spellcheck: true, oninput: () => editing.set("prompt", input.value.trim() ? input.value.trim() : undefined) });
  const label = h("label", { for: input.id }, t("timeline.prompt_here"));
  return { input, field: h("div", { class: "field" }, label, input) };
}

function modeField(id, editing) {
  const input = h(
    "select",
    { id: `${id}-mode`, onchange: () => editing.setField("section_mode", input.value === "append" ? undefined : input.value) },
    ["append", "replace"].map((value) => h("option", { value }, t(`timeline.mode.${value}`))),
  );
  return { input, field: h("div", { class: "field" }, h("label", { for: input.id }, t("timeline.mode")), input) };
}

/** For how long the prompt holds: until the next change, or up to a section. */
function holdField(id, onChange) {
  const input = h("select", { id: `${id}-hold`, onchange: () => onChange(input.value ? Number(input.value) : null) });
  const field = h("div", { class: "field" }, h("label", { for: input.id }, t("timeline.holds")), input);
  let drawn = "";
  const update = (model, index, isThere) => {
    const { section, prompt } = model.cells[index];
    const count = model.grid.starts.length;
    if (drawn !== `${section}/${count}`) {
      const ends = Array.from({ length: count - section }, (_, offset) => section + offset + 1);
      const words = (end) => (end === section + 1 ? t("timeline.holds_here") : t("timeline.holds_to", { n: end - 1 }));
      replace(input, h("option", { value: "" }, t("timeline.holds_on")), ends.map((end) => h("option", { value: end }, words(end))));
      drawn = `${section}/${count}`;
    }
    input.disabled = !isThere;
    input.value = isThere && prompt.isBounded ? String(prompt.until) : "";
  };
  return { field, update };
}

function describeText(element, cell, model) {
  const own = cell.prompt?.value;
  const whole = fullText(model.prompt, own, model.mode);
  const from = own && cell.prompt.from !== cell.section ? t("timeline.comes_from", { n: cell.prompt.from }) : null;
  replace(
    element,
    h("span", { class: "label" }, t("timeline.full_text")), " ",
    whole ? h("q", null, whole) : h("span", null, t("timeline.no_text")),
    from && h("span", { class: "muted" }, ` ${from}`),
  );
}

function sectionPicture(cell, editing) {
  const isOwn = cell.image?.from === cell.section;
  return pictureField({
    label: t("timeline.picture_here"),
    help: cell.image && !isOwn ? t("timeline.picture_comes_from", { n: cell.image.from }) : t("timeline.picture_help"),
    src: cell.image ? editing.pictureOf(cell.image.value) : null,
    isOwn,
    onPicture: (upload) => editing.set("image", upload),
    onRemove: () => editing.set("image", undefined),
  });
}

function seedField(id, editing) {
  const help = `${id}-seed-help`;
  const set = () => {
    const isSaid = input.value !== "";
    const isRight = !isSaid || (input.validity.valid && Number.isInteger(Number(input.value)));
    input.setAttribute("aria-invalid", String(!isRight));
    if (isRight) editing.set("seed", isSaid ? Number(input.value) : undefined);
  };
  const input = h("input", { id: `${id}-seed`, type: "number", min: 0, max: 2 ** 32 - 1, step: 1, inputMode: "numeric", placeholder: t("timeline.seed_of_video"), "aria-describedby": help, oninput: set });
  const roll = () => {
    input.value = String(randomSeed());
    set();
  };
  const dice = h("button", { class: "button small icon-only", type: "button", "aria-label": t("timeline.roll"), title: t("timeline.roll"), onclick: roll }, icon("dice"));
  const field = h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, t("timeline.seed_here")),
    h("div", { class: "timeline-seed-row" }, input, dice),
    h("p", { class: "field-help", id: help }, t("timeline.seed_help")),
  );
  const update = (value) => {
    const shown = value === null ? "" : String(value);
    if (document.activeElement !== input && input.value !== shown) input.value = shown;
    if (value === null && document.activeElement === input && input.validity.valid && input.value !== "" && !input.matches(":invalid")) input.value = "";
  };
  return { field, update };
}
