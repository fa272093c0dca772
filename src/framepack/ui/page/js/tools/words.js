/** Tools and their fields in the page's language. */

import { tOr } from "../lib/i18n.js";

/** @param {{id: string, title: string}} tool */
export function toolTitle(tool) {
  return tOr(`tools.tool.${tool.id}.title`, tool.title);
}

/** @param {{id: string, help: string}} tool */
export function toolHelp(tool) {
  return tOr(`tools.tool.${tool.id}.help`, tool.help);
}

/** A field in the page's language, under a name that no field of a request has. @param {string} tool @param {any} field */
export function inWords(tool, field) {
  const word = (what) => tOr(`tools.field.${tool}.${field.name}.${what}`, tOr(`tools.field.${field.name}.${what}`, field[what]));
  return { ...field, name: `tools.${field.name}`, title: word("title"), help: word("help"), unset: word("unset"), unit: word("unit") };
}

/** The choices of a field. @param {any} field */
export function choicesOf(field) {
  if (field.kind !== "choice") return undefined;
  return field.choices.map((value) => ({ value, label: tOr(`tools.field.${field.name}.choice.${value}`, value) }));
}
