/** The LoRAs of the server: what they are, the weight used last, and how to add some. */

import { api } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { draft } from "../lib/draft.js";
import { bytes, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";

const LOOKED_AT = 100;
const STANDARD_WEIGHT = 1;

/**
 * The part of the page about LoRAs.
 *
 * @param {boolean} isAdmin whether the folder may be named
 * @returns {Promise<HTMLElement>}
 */
export async function loraSection(isAdmin) {
  const [{ data }, weights] = await Promise.all([api.get("/loras"), lastWeights()]);
  return h(
    "section",
    { class: "card stack", "aria-labelledby": "loras-title" },
    h("div", null, h("h2", { id: "loras-title" }, t("models.loras")), h("p", { class: "muted" }, t("models.loras_help"))),
    data.length ? table(data, weights) : h("div", { class: "empty" }, h("p", null, t("models.no_loras"))),
    h("details", null, h("summary", null, t("models.add_lora")), howToAdd(isAdmin)),
  );
}

/** The weight that each LoRA had last: in the draft, else in the newest video that used it. */
async function lastWeights() {
  const { data } = await api.get("/videos", { limit: LOOKED_AT });
  const used = [draft.request.value, ...data.map((video) => video.request ?? {})];
  const found = new Map();
  for (const { path, weight } of used.flatMap((request) => request.loras ?? [])) {
    const name = nameOf(path);
    if (!found.has(name)) found.set(name, weight ?? STANDARD_WEIGHT);
  }
  return found;
}

/** A LoRA's name, whatever its path. @param {string} path */
function nameOf(path) {
  return path.split(/[\\/]/).pop().replace(/\.safetensors$/, "");
}

function table(loras, weights) {
  const head = ["name", "facts", "size", "weight"].map((name) => h("th", { scope: "col" }, t(`models.lora.${name}`)));
  return h(
    "div",
    { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": t("models.loras") },
    h("table", null, h("thead", null, h("tr", null, head, h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, t("models.lora.use"))))), h("tbody", null, loras.map((lora) => row(lora, weights.get(nameOf(lora.id)))))),
  );
}

function row(lora, weight) {
  return h(
    "tr",
    null,
    h("th", { scope: "row", class: "models-lora-name" }, lora.title || lora.id, lora.title && h("div", { class: "muted mono" }, lora.id)),
    h("td", null, facts(lora)),
    h("td", { class: "models-nowrap" }, bytes(lora.bytes)),
    h("td", null, weight === undefined ? h("span", { class: "muted" }, "–") : number(weight, 2)),
    h("td", null, useButton(lora, weight)),
  );
}

/** What is known of it without reading its weights. */
function facts(lora) {
  if (!lora.base && !lora.trigger_words.length) return h("span", { class: "muted" }, "–");
  return [
    lora.base && h("p", null, t("models.lora.base", { base: lora.base })),
    lora.trigger_words.length > 0 && h("p", null, t("models.lora.trigger"), " ", lora.trigger_words.map((word) => [h("code", null, word), " "])),
  ];
}

function useButton(lora, weight) {
  const use = () => {
    const others = (draft.request.value.loras ?? []).filter((each) => nameOf(each.path) !== nameOf(lora.id));
    draft.set("loras", [...others, { path: lora.id, weight: weight ?? STANDARD_WEIGHT }]);
    notify.success(t("models.lora.used", { name: lora.title || lora.id }), { action: { label: t("shell.nav.create"), run: () => { location.hash = "#/create"; } } });
  };
  return h("button", { class: "button small", type: "button", "aria-label": t("models.lora.use_name", { name: lora.title || lora.id }), onclick: use }, icon("plus"), t("models.lora.use"));
}

function howToAdd(isAdmin) {
  return h(
    "ol",
    { class: "models-steps" },
    h("li", null, t("models.add_lora.put")),
    h("li", null, isAdmin ? h("a", { href: "#/settings" }, t("models.add_lora.folder")) : t("models.add_lora.folder")),
    h("li", null, t("models.add_lora.check"), " ", h("code", null, "framepack lora inspect NAME")),
    h("li", null, t("models.add_lora.reload")),
  );
}
