/** The form of one tool, made from what the server says of its fields. */

import { control } from "../forms/control.js";
import { api } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { faultsOf } from "./faults.js";
import { entered, keep } from "./kept.js";
import { sourcesInput } from "./sources.js";
import { choicesOf, inWords, toolHelp, toolTitle } from "./words.js";

/** Fields about the file that is written; they are a click away. */
const OF_THE_FILE = ["container", "sound", "audio", "codec", "codec_options", "pixel_format"];

/**
 * @param {any} tool
 * @param {{onTask: (task: any) => void}} options
 * @returns {HTMLElement}
 */
export function toolForm(tool, { onTask }) {
  const state = entered(tool.id);
  const inputs = new Map(tool.fields.map((field) => [field.name, input(tool, field, state)]));
  const problem = h("p", { class: "field-error", role: "alert" });
  const button = h("button", { class: "button primary", type: "submit" }, icon("play"), t("tools.run"));
  const send = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    for (const each of inputs.values()) each.setError(null);
    if (isIncomplete(tool, state, inputs)) return;
    button.disabled = true;
    try {
      onTask(await api.post(`/tools/${tool.id}`, body(tool, state)));
    } catch (error) {
      tell(error, inputs, problem);
    } finally {
      button.disabled = false;
    }
  };
  const some = (isWanted) => tool.fields.filter(isWanted).map((field) => inputs.get(field.name).element);
  const isFirst = (field) => field.kind === "file" && !OF_THE_FILE.includes(field.name);
  const isMiddle = (field) => field.kind !== "file" && !OF_THE_FILE.includes(field.name);
  const middle = some(isMiddle);
  const file = some((field) => OF_THE_FILE.includes(field.name));
  return h(
    "form",
    { class: "card stack tools-form", noValidate: true, "aria-labelledby": "tool-title", onsubmit: (event) => send(event).catch(report) },
    h("div", null, h("h2", { id: "tool-title" }, toolTitle(tool)), h("p", { class: "muted" }, toolHelp(tool))),
    some(isFirst),
    middle.length > 0 && h("div", { class: "tools-fields" }, middle),
    file.length > 0 && h("details", { class: "tools-file" }, h("summary", null, t("tools.file")), h("div", { class: "tools-fields" }, file)),
    problem,
    h("div", { class: "row" }, button),
  );
}

function input(tool, field, state) {
  const words = inWords(tool.id, field);
  const note = () => keep(tool.id, state);
  if (field.kind === "file") {
    return sourcesInput(words, field.name, {
      value: state.files[field.name] ?? [],
      onChange: (sources) => {
        state.files[field.name] = sources;
        note();
      },
    });
  }
  return control(words, {
    slider: false, // few of these ranges suit one
    value: state.values[field.name],
    choices: choicesOf(field),
    onChange: (value) => {
      if (value === undefined) delete state.values[field.name];
      else state.values[field.name] = value;
      note();
    },
  });
}

/** Say which file is missing, before anything is asked. */
function isIncomplete(tool, state, inputs) {
  const missing = tool.fields.find((field) => field.kind === "file" && field.needed && !state.files[field.name]?.length);
  if (!missing) return false;
  inputs.get(missing.name).setError(t("tools.missing", { name: inWords(tool.id, missing).title }));
  inputs.get(missing.name).focus();
  return true;
}

function body(tool, state) {
  const files = tool.fields.filter((field) => field.kind === "file" && state.files[field.name]?.length);
  const ids = files.map((field) => {
    const given = state.files[field.name].map((source) => source.id);
    return [field.name, field.many ? given : given[0]];
  });
  const known = new Set(tool.fields.map((field) => field.name));
  const values = Object.entries(state.values).filter(([name]) => known.has(name));
  return Object.fromEntries([...ids, ...values]);
}

function tell(error, inputs, problem) {
  const { byName, others } = faultsOf(error.message, [...inputs.keys()]);
  for (const [name, text] of byName) {
    const found = inputs.get(name);
    found.setError(text);
    found.element.closest("details")?.setAttribute("open", "");
  }
  problem.textContent = others.join("; ");
  const [first] = byName.keys();
  if (first) inputs.get(first).focus();
}
