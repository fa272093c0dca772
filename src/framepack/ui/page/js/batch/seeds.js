/** A box for several numbers, with a button that adds random seeds. */

import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { labelled } from "../gallery/field.js";
import { randomSeed } from "../lib/random.js";

const MOST_RANDOM = 100;

/**
 * @param {string} label
 * @param {string} text
 * @param {(text: string) => void} onChange
 * @param {string} [help]
 */
export function seedBox(label, text, onChange, help = t("batch.seeds_help")) {
  const input = h("input", { type: "text", value: text, inputMode: "text", autocomplete: "off", placeholder: t("batch.seeds_hint"), oninput: () => onChange(input.value) });
  const field = labelled(label, input, help);
  const count = h("input", { type: "number", min: 1, max: MOST_RANDOM, step: 1, value: "3", inputMode: "numeric", "aria-label": t("batch.random_count") });
  const roll = () => {
    const wanted = Math.max(1, Math.min(Math.floor(Number(count.value)) || 1, MOST_RANDOM));
    input.value = [input.value.trim().replace(/[,;]+$/, ""), ...Array.from({ length: wanted }, randomSeed)].filter((part) => part !== "").join(", ");
    onChange(input.value);
  };
  const random = h("div", { class: "batch-random" }, count, h("button", { class: "button", type: "button", onclick: roll }, icon("dice"), t("batch.add_random")));
  const row = h("div", { class: "batch-seeds" });
  input.replaceWith(row);
  row.append(input, random);
  return field;
}
