/** Settings under names, and those that were used last. */

import { confirm, openDialog } from "../lib/dialog.js";
import { draft } from "../lib/draft.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { prefs } from "../lib/prefs.js";

const LAST = "\u0000last";
/** Files are removed from the server after a while, so presets have none. */
const FILES = ["image", "end_image", "extend", "video", "section_images", "rife_weights", "vae_weights"];
const WORDS = ["prompt", "negative_prompt", "section_prompts", "section_seeds", "enhanced_prompts"];
/** What is of one video only. */
const ONCE = ["audio", "group", "label"];

/** @typedef {{request: Record<string, any>, options: Record<string, any>, files?: Record<string, any>}} Preset */

/** Remember what is generated, to come back to it. */
export function rememberLast() {
  prefs.set("last_used", draft.copy());
}

/**
 * Draw the choice of presets.
 *
 * @param {HTMLElement} place
 */
export function presets(place) {
  const id = uniqueId("preset");
  const select = h("select", { id, class: "create-preset" });
  const remove = toolButton("trash", t("create.preset.delete"), () => forget(select, draw));
  let drawn = "";
  const known = () => JSON.stringify([Object.keys(all()), Boolean(prefs.get("last_used", null))]);
  const draw = (chosen = "") => {
    drawn = known();
    const names = Object.keys(all()).sort((one, other) => one.localeCompare(other));
    replace(
      select,
      h("option", { value: "" }, t("create.preset.choose")),
      prefs.get("last_used", null) && h("option", { value: LAST }, t("create.preset.last")),
      names.map((name) => h("option", { value: name }, name)),
    );
    select.value = chosen;
    remove.disabled = !(chosen in all());
  };
  select.addEventListener("change", () => {
    if (select.value) load(select.value);
    remove.disabled = !(select.value in all());
  });
  // The server's may have come meanwhile.
  select.addEventListener("focus", () => { if (drawn !== known()) draw(select.value); });
  draw();
  replace(
    place,
    h("label", { for: id, class: "visually-hidden" }, t("create.preset")),
    select,
    toolButton("save", t("create.preset.save"), () => ask(select.value, draw)),
    remove,
  );
}

/** @returns {Record<string, Preset>} */
function all() {
  return prefs.get("presets", {});
}

function toolButton(name, label, run) {
  return h("button", { class: "button icon-only", type: "button", title: label, "aria-label": label, onclick: run }, icon(name));
}

/** Take a preset's settings; what the video shows stays unless the preset says it too. */
function load(name) {
  if (name === LAST) {
    const { request, options, files } = prefs.get("last_used", { request: {}, options: {} });
    tell(t("create.preset.last_loaded"), draft.replace(request, options, files ?? {}));
    return;
  }
  const { request, options } = all()[name];
  const stays = pick(draft.request.value, [...FILES, ...WORDS]);
  const undo = draft.replace({ ...stays, ...request }, { ...pick(draft.options.value, ONCE), ...options }, draft.files.value);
  tell(t("create.preset.loaded", { name }), undo);
}

function tell(text, undo) {
  notify.success(text, { action: { label: t("shell.undo"), run: undo } });
}

function pick(values, names) {
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));
}

function leave(values, names) {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));
}

/** Ask for a name, and save the settings under it. */
function ask(current, done) {
  const id = uniqueId("preset-name");
  const name = h("input", { id, type: "text", required: true, maxLength: 60, value: current === LAST ? "" : current });
  const withWords = h("input", { id: `${id}-words`, type: "checkbox" });
  const form = h(
    "form",
    { class: "stack tight", method: "dialog" },
    h("div", { class: "field" }, h("label", { for: id }, t("create.preset.name")), name),
    h("div", { class: "check" }, withWords, h("label", { for: `${id}-words` }, t("create.preset.with_words"))),
    h("p", { class: "field-help" }, t("create.preset.help")),
  );
  const save = (close) => {
    if (!form.reportValidity()) return;
    const title = name.value.trim();
    if (!title) return;
    const left = withWords.checked ? FILES : [...FILES, ...WORDS];
    const preset = { request: leave(draft.request.value, left), options: leave(draft.options.value, ONCE) };
    prefs.set("presets", { ...all(), [title]: preset });
    close();
    done(title);
    notify.success(t("create.preset.saved", { name: title }));
  };
  const dialog = openDialog({
    title: t("create.preset.save"),
    content: form,
    actions: [{ label: t("shell.cancel") }, { label: t("create.preset.save_action"), kind: "primary", run: save }],
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.press();
  });
  name.focus();
}

async function forget(select, done) {
  const name = select.value;
  const text = t("create.preset.delete_text", { name });
  if (!(await confirm({ title: t("create.preset.delete"), text, action: t("create.preset.delete"), danger: true }))) return;
  prefs.set("presets", leave(all(), [name]));
  done();
  notify.success(t("create.preset.deleted", { name }));
}
