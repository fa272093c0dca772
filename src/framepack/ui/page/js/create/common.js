/** The settings in view: those that the schema calls common, and the camera. */

import { api } from "../lib/api.js";
import { draft } from "../lib/draft.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { randomSeed } from "../lib/random.js";

/** Parts of the range that people use; the number beside the slider takes all of it. */
const SLIDERS = { duration_s: [1, 20] };
const PAIRED = new Set(["resolution", "fps", "num_inference_steps", "seed"]);
/** In the order of the page; what else is common follows. */
const FIRST = ["duration_s", "resolution", "fps", "num_inference_steps", "seed", "speed", "variant", "camera_motion", "model"];
const PLACEHOLDERS = { seed: () => t("create.seed.random") };

/**
 * Draw them.
 *
 * @param {HTMLElement} place
 * @param {{fields: ReturnType<import("./field_set.js").fieldSet>}} given
 */
export function commonSettings(place, { fields }) {
  const names = FIRST.filter((name) => fields.has(name));
  const box = h("div", { class: "create-common-fields" });
  for (const name of names) {
    if (name === "model") continue;
    const made = fields.make(name, { brief: true, slider: PAIRED.has(name) ? false : SLIDERS[name], placeholder: PLACEHOLDERS[name]?.() });
    made.element.classList.add(PAIRED.has(name) ? "is-half" : "is-whole");
    if (name === "seed") addDice(made);
    box.append(made.element);
  }
  replace(place, h("h2", { class: "visually-hidden" }, t("create.common")), box);
  addModel(box, fields).catch(report);
}

/** A button that fixes another seed. */
function addDice(made) {
  const label = t("create.seed.dice");
  const roll = () => draft.set("seed", randomSeed());
  const row = h("div", { class: "create-seed" });
  made.target.replaceWith(row);
  row.append(made.target, h("button", { class: "button icon-only", type: "button", title: label, "aria-label": label, onclick: roll }, icon("dice")));
}

/** The models that the server has, with a word for those whose weights are missing. */
async function addModel(box, fields) {
  const { data } = await api.get("/models");
  const choices = data.map((model) => ({
    value: model.id,
    label: model.weights_present === false ? t("create.model.missing", { id: model.id }) : `${model.id}: ${model.title}`,
  }));
  const made = fields.make("model", { choices, brief: true });
  made.element.classList.add("is-whole");
  box.append(made.element);
}
