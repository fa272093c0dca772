/** Pictures x prompts x seeds. */

import { draft } from "../lib/draft.js";
import { h } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { schema } from "../lib/schema.js";
import { labelled } from "../gallery/field.js";
import { setting } from "./combos.js";
import { kept } from "./form_state.js";
import { fileShelf } from "./pictures.js";
import { seedBox } from "./seeds.js";
import { summary } from "./summary.js";
import { parseLines, parseNumbers } from "./values.js";

/** @returns {{element: HTMLElement, update: () => void, close: () => void}} */
export function batchForm() {
  const state = kept("batch", { pictures: [], prompts: "", seeds: "" });
  const change = (part) => {
    state.change(part);
    panel.update();
  };
  const panel = summary({ word: t("batch.word"), read: () => read(state.value, errors) });
  const prompts = labelled(
    t("batch.prompts"),
    h("textarea", { rows: 6, value: state.value.prompts, placeholder: draft.request.value.prompt ?? t("batch.prompts_hint"), oninput: (event) => change({ prompts: event.target.value }) }),
    t("batch.prompts_help"),
  );
  const seeds = seedBox(t("batch.seeds"), state.value.seeds, (text) => change({ seeds: text }));
  const errors = { prompts: prompts.setError, seeds: seeds.setError };
  const element = h(
    "div",
    { class: "batch-columns" },
    h(
      "div",
      { class: "stack batch-form" },
      h("section", { class: "card stack tight" }, h("h2", null, t("batch.pictures")), h("p", { class: "field-help" }, t("batch.pictures_help")), fileShelf(state.value.pictures, (pictures) => change({ pictures }))),
      h("section", { class: "card" }, prompts.element),
      h("section", { class: "card" }, seeds.element),
    ),
    panel.element,
  );
  return { element, update: panel.update, close: panel.close };
}

/** What the form says: axes, the count of each in words, and what is wrong. */
function read(state, errors) {
  const base = draft.request.value;
  const axes = [];
  const counts = [];
  let error = "";
  const add = (name, title, word, values) => {
    try {
      errors[name]?.("");
      const found = values();
      if (!found.length) return;
      axes.push({ title, values: found });
      counts.push(tn(`batch.num_${word}`, found.length));
    } catch (reason) {
      error = reason.message;
      errors[name]?.(error);
    }
  };
  add("pictures", t("batch.axis.picture"), "pictures", () => state.pictures.map(({ id, name }) => setting("image", id, name)));
  add("prompts", t("batch.axis.prompt"), "prompts", () => parseLines(state.prompts).map((prompt) => setting("prompt", prompt, prompt)));
  add("seeds", t("batch.axis.seed"), "seeds", () => parseNumbers(state.seeds, schema.field("seed")).map((seed) => setting("seed", seed, String(seed))));
  return { base, axes, counts, error };
}
