/** LoRAs with their weights, from those that the server has. */

import { api } from "../lib/api.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";

const SLIDER = [-2, 2];
const STEP = 0.05;

/** @typedef {{path: string, weight?: number}} Lora */

/**
 * LoRAs: a row with a slider for each, and a choice of further ones.
 *
 * @param {import("./values.js").Field} field
 * @param {import("./inputs.js").Given} given
 * @returns {import("./control.js").Part}
 */
export function loras(field, given) {
  const rows = h("div", { class: "form-loras" });
  const add = h("select", { id: given.id });
  /** @type {Lora[]} */
  let chosen = [];
  /** @type {{id: string, title?: string | null, trigger_words?: string[]}[]} */
  let offered = [];
  const facts = (lora) => offered.find((each) => each.id === stem(lora.path));
  const change = (next, isRedrawn) => {
    chosen = next;
    if (isRedrawn) draw();
    given.onInput(chosen);
  };
  const draw = () => {
    replace(rows, chosen.map((lora, index) => row(lora, facts(lora), {
      onWeight: (weight) => change(chosen.map((each, at) => (at === index ? { ...each, weight } : each)), false),
      onRemove: () => {
        change(chosen.filter((_, at) => at !== index), true);
        add.focus();
      },
    })));
    const free = offered.filter((each) => !chosen.some((lora) => stem(lora.path) === each.id));
    const first = offered.length ? t("create.loras.add") : t("create.loras.none");
    replace(add, h("option", { value: "" }, first), free.map((each) => h("option", { value: each.id }, each.title || each.id)));
    add.disabled = offered.length === 0;
  };
  add.addEventListener("change", () => {
    if (add.value) change([...chosen, { path: add.value, weight: 1 }], true);
  });
  api.get("/loras").then(({ data }) => {
    offered = data;
    draw();
  }, report);
  return {
    element: h("div", { class: "stack tight" }, rows, add),
    target: add,
    setValue: (value) => {
      const next = read(value ?? field.default ?? []);
      if (JSON.stringify(next) === JSON.stringify(chosen)) return;
      chosen = next;
      draw();
    },
    setDisabled: (isOff) => { add.disabled = isOff || offered.length === 0; },
  };
}

/** LoRAs as objects; texts are NAME:WEIGHT. @param {(Lora | string)[]} value @returns {Lora[]} */
function read(value) {
  return value.map((each) => {
    if (typeof each !== "string") return each;
    const [, path, weight] = /^(.*?)(?::(-?[\d.]+))?$/.exec(each) ?? [];
    return { path: path ?? each, weight: Number(weight ?? 1) };
  });
}

function stem(path) {
  return path.split(/[\\/]/).pop()?.replace(/\.safetensors$/, "") ?? path;
}

/** One of them: name, weight, and the words that it was trained with. */
function row(lora, facts, { onWeight, onRemove }) {
  const id = uniqueId("lora");
  const name = facts?.title || stem(lora.path);
  const words = (facts?.trigger_words ?? []).join(", ");
  const weight = String(lora.weight ?? 1);
  const label = t("create.loras.weight", { name });
  const slider = h("input", { id, type: "range", min: SLIDER[0], max: SLIDER[1], step: STEP, value: weight });
  const input = h("input", { type: "number", step: "any", value: weight, "aria-label": label });
  slider.addEventListener("input", () => {
    input.value = slider.value;
    onWeight(Number(slider.value));
  });
  input.addEventListener("input", () => {
    if (input.value === "") return;
    slider.value = input.value;
    onWeight(Number(input.value));
  });
  const remove = t("create.form.remove", { name });
  return h(
    "div",
    { class: "form-lora" },
    h("label", { for: id, title: name }, name),
    slider,
    input,
    h("button", { class: "button quiet small icon-only", type: "button", "aria-label": remove, title: remove, onclick: onRemove }, icon("close")),
    words && h("p", { class: "field-help form-lora-words" }, t("create.loras.words", { words })),
  );
}
