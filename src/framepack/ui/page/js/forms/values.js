/** What values of fields mean: unset, the default, or changed. */

import { t, tOr } from "../lib/i18n.js";
import { number } from "../lib/format.js";

/**
 * @typedef {object} Field a FIELD of `/v1/schema`, of a tool or of the settings
 * @property {string} name
 * @property {string} title
 * @property {string} help
 * @property {string} unit
 * @property {string} rule
 * @property {string} group
 * @property {boolean} common
 * @property {"text" | "longtext" | "integer" | "number" | "boolean" | "choice" | "list" | "file" | "sections" | "loras" | "json"} kind
 * @property {string[] | null} choices
 * @property {number | null} min
 * @property {number | null} max
 * @property {boolean} exclusive_min
 * @property {number | null} step
 * @property {any} default
 * @property {string} unset
 * @property {boolean} [many] several files
 * @property {boolean} [secret] never shown
 */

/** Whether two values of a field are the same. @param {any} one @param {any} other */
export function isSame(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

/** Whether there is nothing in a value. @param {any} value */
export function isEmpty(value) {
  if (value === undefined || value === null || value === "") return true;
  if (typeof value !== "object") return false;
  return (Array.isArray(value) ? value : Object.keys(value)).length === 0;
}

/** A value as it is kept: undefined when it is the default or nothing. @param {Field} field @param {any} value */
export function kept(field, value) {
  const isUnset = isSame(value, field.default) || (isEmpty(value) && isEmpty(field.default));
  return isUnset || value === null ? undefined : value;
}

/** The word for one of a field's choices. @param {Field} field @param {string} choice */
export function choiceLabel(field, choice) {
  if (choice === "") return t("create.form.none");
  return tOr(`fields.${field.name}.choice.${choice}`, choice);
}

/** What no value stands for, in words. @param {Field} field */
export function unsetText(field) {
  return tOr(`fields.${field.name}.unset`, field.unset ?? "");
}

/** The unit, in the page's language. @param {Field} field */
export function unitText(field) {
  const isCounted = field.unit && field.kind !== "list";
  return isCounted ? tOr(`fields.unit.${field.unit}`, field.unit) : "";
}

/** A value as people read it. @param {Field} field @param {any} value */
export function shown(field, value) {
  if (isEmpty(value)) return "";
  if (typeof value === "boolean") return t(value ? "create.form.on" : "create.form.off");
  if (typeof value === "number") return number(value, 3);
  if (field.kind === "choice") return choiceLabel(field, String(value));
  return typeof value === "string" ? value : JSON.stringify(value);
}
