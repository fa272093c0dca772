/** A grid of videos over up to three settings. */

import { api } from "../lib/api.js";
import { draft } from "../lib/draft.js";
import { h } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { randomSeed } from "../lib/random.js";
import { schema } from "../lib/schema.js";
import { axisEditor, axisOf, noAxis } from "./axis.js";
import { kept } from "./form_state.js";
import { summary } from "./summary.js";

const AXES = ["x", "y", "z"];

/** @returns {Promise<{element: HTMLElement, update: () => void, close: () => void}>} */
export async function xyzForm() {
  const [known, models] = await Promise.all([schema.load(), api.get("/models")]);
  const facts = { schema: known, models: models.data.filter((model) => model.weights_present) };
  const state = kept("grid", { x: noAxis("seed"), y: noAxis("num_inference_steps"), z: noAxis(), seed: randomSeed() });
  const editors = {};
  const panel = summary({ word: t("batch.grid_word"), read: () => read(state.value, facts, editors) });
  for (const name of AXES) {
    editors[name] = axisEditor(t(`batch.axis_${name}`), state.value[name], facts, (axis) => {
      state.change({ [name]: axis });
      panel.update();
    });
  }
  const form = h("div", { class: "stack batch-form" }, AXES.map((name) => editors[name].element));
  return { element: h("div", { class: "batch-columns" }, form, panel.element), update: panel.update, close: panel.close };
}

/** What the form says: axes with the columns last, so that rows fill from the left. */
function read(state, facts, editors) {
  let base = draft.request.value;
  const axes = [];
  const counts = [];
  let error = "";
  const fields = AXES.map((name) => state[name].field).filter(Boolean);
  const twice = fields.find((field, index) => fields.indexOf(field) !== index);
  // A grid shows what its axes do, so nothing else may differ between its cells.
  const isSeedFree = base.seed === undefined && !fields.includes("seed");
  if (isSeedFree) base = { ...base, seed: state.seed };
  for (const name of AXES) {
    editors[name].setError("");
    try {
      const axis = axisOf(state[name], facts, replacedBase(state, facts, base));
      if (!axis) continue;
      axes.unshift(axis);
      counts.push(tn(`batch.num_${name}`, axis.values.length));
    } catch (reason) {
      error ||= reason.message;
      editors[name].setError(reason.message);
    }
  }
  if (twice) error = t("batch.same_axis");
  else if (!error && !axes.length) error = t("batch.no_values");
  return { base, axes, counts, error, isEmpty: !axes.length && !twice, note: isSeedFree ? t("batch.one_seed", { seed: state.seed }) : "" };
}

/** A prompt axis gives the prompts in which a replacement finds its word. */
function replacedBase(state, facts, base) {
  const prompts = AXES.map((name) => state[name]).find((axis) => axis.field === "prompt");
  return prompts?.text.trim() ? { ...base, prompt: prompts.text } : base;
}
