/** Dialogs that make a video from another: remix, extend, one section again. */

import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { randomSeed } from "../lib/random.js";
import { go } from "../router.js";
import { labelled } from "./field.js";

/**
 * A form in a dialog that queues a video.
 *
 * @param {object} options
 * @param {any} options.video that it is made from
 * @param {string} options.title
 * @param {string} options.help
 * @param {string} options.action words of the button, and the route
 * @param {{name: string, element: any, control: any, setError: (text: string) => void, value: () => any}[]} options.fields
 *   a value of undefined is not sent
 * @param {any} [options.fixed] what is sent besides
 * @param {any} [options.head] stands before the fields
 * @param {any} [options.foot] stands after them
 * @param {(made: any) => void} [options.onMade] instead of a message that it is queued
 */
export function formDialog({ video, title, help, action, fields, fixed = {}, head, foot, onMade = (made) => tellQueued(made, action) }) {
  const error = h("p", { class: "field-error", role: "alert" });
  const send = async () => {
    error.textContent = "";
    fields.forEach((field) => field.setError(""));
    const wrong = fields.find((field) => !field.control.checkValidity());
    if (wrong) return tell(wrong, wrong.control.validationMessage);
    const given = fields.map((field) => [field.name, field.value()]).filter(([, value]) => value !== undefined);
    try {
      const made = await api.post(`/videos/${video.id}/${action}`, { ...fixed, ...Object.fromEntries(given) });
      dialog.close();
      onMade(made);
    } catch (reason) {
      const field = fields.find(({ name }) => name === reason.param);
      if (field) tell(field, reason.message);
      else error.textContent = reason.message;
    }
    return undefined;
  };
  const submit = (event) => {
    event.preventDefault();
    dialog.press();
  };
  const form = h("form", { class: "stack", onsubmit: submit, novalidate: "" }, help && h("p", { class: "muted" }, help), head, fields.map((field) => field.element), foot, error, h("button", { type: "submit", hidden: true }));
  const dialog = openDialog({ title, content: form, actions: [{ label: t("shell.cancel") }, { label: t(`gallery.${action}_action`), kind: "primary", run: send }] });
  fields[0].control.focus();
  return dialog;
}

function tellQueued(made, action) {
  notify.success(t(`gallery.${action}_queued`), { action: { label: t("gallery.watch"), run: () => go("video", made.id) } });
  made.notes.forEach((note) => notify.info(note));
}

function tell(field, text) {
  field.setError(text);
  field.control.focus();
}

const orNothing = (text) => (text.trim() === "" ? undefined : text.trim());
const numberOrNothing = (text) => (text === "" ? undefined : Number(text));

/** @param {string} text @param {string} help @param {{label?: string, hint?: string}} [words] */
export function promptField(text, help, { label = t("gallery.prompt"), hint = "" } = {}) {
  const control = h("textarea", { rows: 4, maxLength: 10000, value: text, placeholder: hint });
  return { name: "prompt", ...labelled(label, control, help), value: () => orNothing(control.value) };
}

/** @param {string} seed @param {string} help */
export function seedField(seed, help) {
  const control = h("input", { type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, inputMode: "numeric", value: seed });
  const field = labelled(t("gallery.seed"), control, help);
  const roll = () => {
    control.value = String(randomSeed());
  };
  const dice = h("button", { class: "button icon-only", type: "button", "aria-label": t("gallery.random_seed"), title: t("gallery.random_seed"), onclick: roll }, icon("dice"));
  const row = h("div", { class: "gallery-seed" });
  control.replaceWith(row);
  row.append(control, dice);
  return { name: "seed", ...field, value: () => numberOrNothing(control.value) };
}

/** Make a video again with another prompt. @param {any} video @param {(made: any) => void} [onMade] */
export function remixDialog(video, onMade) {
  const prompt = promptField(video.prompt, "");
  const seed = seedField(String(video.seed), t("gallery.remix_seed_help"));
  formDialog({ video, title: t("gallery.remix_title"), help: t("gallery.remix_help"), action: "remix", onMade, fields: [{ ...prompt, value: () => prompt.control.value.trim() }, seed] });
}

/** Go on from a video's end. @param {any} video @param {(made: any) => void} [onMade] */
export function extendDialog(video, onMade) {
  const control = h("input", { type: "number", min: 0.1, max: 600, step: "any", inputMode: "decimal", value: "2", required: true });
  const seconds = { name: "seconds", ...labelled(t("gallery.extend_seconds"), control), value: () => Number(control.value) };
  formDialog({ video, title: t("gallery.extend_title"), help: t("gallery.extend_help"), action: "extend", onMade, fields: [seconds, promptField("", t("gallery.as_before"))] });
}

/** Make one section again. @param {any} video */
export function redoDialog(video) {
  const count = Math.max(video.progress_detail.num_sections, 1);
  const control = h("input", { type: "number", min: 0, max: count - 1, step: 1, inputMode: "numeric", value: "0", required: true });
  const help = t("gallery.section_help", { last: count - 1 });
  const section = { name: "section", ...labelled(t("gallery.section"), control, help), value: () => Number(control.value) };
  formDialog({ video, title: t("gallery.redo_title"), help: t("gallery.redo_help"), action: "redo", fields: [section, promptField("", t("gallery.as_before")), seedField("", t("gallery.other_noise"))] });
}
