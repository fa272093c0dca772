/** One setting: its input, where its value comes from, and what is to become of it. */

import { control } from "../forms/control.js";
import { isSame } from "../forms/values.js";
import { h, icon } from "../lib/dom.js";
import { t, tOr } from "../lib/i18n.js";
import { changes } from "./changes.js";

const LONG = 80;

/**
 * @param {any} field of `/v1/settings`
 * @returns {{element: HTMLElement, control: ReturnType<typeof control>, restart: boolean,
 *   describe: (value: any) => string}}
 */
export function settingField(field) {
  const isFixed = field.source === "environment" || field.source === "flag";
  const mark = h("span", { class: "badge accent settings-mark", hidden: !changes.has(field.name) }, t("settings.unsaved"));
  const input = control(inWords(field), {
    value: startValue(field),
    choices: choicesOf(field),
    rows: 4,
    keep: (value) => keptValue(field, value),
    onChange: (value) => {
      note(field, value);
      mark.hidden = !changes.has(field.name);
    },
  });
  if (isFixed) input.setDisabled(true);
  const isWide = ["longtext", "json"].includes(kindOf(field));
  const element = h(
    "div",
    { class: `settings-field ${isFixed ? "is-fixed" : ""} ${isWide ? "is-wide" : ""}` },
    input.element,
    h("div", { class: "row settings-source" }, mark, sourceLine(field, isFixed), field.secret && field.is_set && !isFixed && removeButton(field, input, mark)),
  );
  return { element, control: input, restart: field.restart, describe: (value) => describe(field, value) };
}

/** The field in the page's language, under a name that no field of a request has. */
function inWords(field) {
  const word = (what) => tOr(`settings.field.${field.name}.${what}`, field[what]);
  const unset = field.secret && field.is_set ? t("settings.secret_set") : word("unset") || t("settings.nothing");
  return { ...field, name: `settings.${field.name}`, kind: kindOf(field), title: word("title"), help: word("help").replaceAll("`", ""), unset };
}

function kindOf(field) {
  if (field.kind === "file") return "text"; // a place on the server, not a file that is sent
  return field.kind === "text" && String(field.default ?? "").length > LONG ? "longtext" : field.kind;
}

function choicesOf(field) {
  if (field.kind !== "choice") return undefined;
  return field.choices.map((value) => ({ value, label: tOr(`settings.field.${field.name}.choice.${value}`, value) }));
}

/** What is shown at first: what was changed here and not saved, else what holds. */
function startValue(field) {
  if (changes.has(field.name)) return changes.get(field.name) ?? undefined;
  return field.secret ? undefined : (field.value ?? undefined);
}

function keptValue(field, value) {
  return value === "" || value === null || isSame(value, field.default) ? undefined : value;
}

/** Keep a change; one that leads back to what holds is none. */
function note(field, value) {
  const holds = field.secret ? undefined : keptValue(field, field.value);
  const isBack = isSame(value, holds) && !(value === undefined && field.source === "file" && !field.secret);
  if (isBack) changes.drop(field.name);
  else changes.set(field.name, value ?? null);
}

/** Where the value comes from. The default needs no words: fields that differ have a mark. */
function sourceLine(field, isFixed) {
  const words = {
    default: "",
    file: t("settings.source.file"),
    environment: t("settings.source.environment", { variable: field.variable ?? "" }),
    flag: t("settings.source.flag"),
  };
  const text = [words[field.source], field.restart && t("settings.at_restart")].filter(Boolean).join(" ");
  return text && h("p", { class: "field-help settings-source-line" }, isFixed && icon("lock"), text);
}

function removeButton(field, input, mark) {
  const remove = () => {
    input.setValue(undefined);
    changes.set(field.name, null);
    mark.hidden = false;
  };
  return h("button", { class: "settings-link", type: "button", onclick: remove }, t("settings.remove_secret"));
}

/** A change in words: "Device: auto → cpu". */
function describe(field, value) {
  const title = tOr(`settings.field.${field.name}.title`, field.title);
  if (field.secret) return `${title}: ${t(value === null ? "settings.will_be_removed" : "settings.will_be_set")}`;
  const words = (one) => {
    if (one === null || one === undefined) return short(field.default) || t("settings.nothing");
    return short(one);
  };
  return `${title}: ${words(field.value)} → ${words(value)}`;
}

function short(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return t(value ? "settings.on" : "settings.off");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
