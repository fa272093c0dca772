/** The page's words, from plain catalogues: locales/<language>/<area>.json. */

export const LANGUAGES = { en: "English", de: "Deutsch" };

/** @type {Record<string, string>} */
let words = {};

/** The language that is shown. */
export let language = "en";

/** What the user chose, else the browser's first language that there is a catalogue for. */
function chosen() {
  const stored = localStorage.getItem("framepack.language");
  const wished = [stored, ...navigator.languages].map((name) => (name ?? "").slice(0, 2));
  return wished.find((name) => name in LANGUAGES) ?? "en";
}

/** Read the catalogues; English stands in for what another language lacks. */
export async function loadWords() {
  language = chosen();
  const wanted = language === "en" ? ["en"] : ["en", language];
  const found = await Promise.all(wanted.map(read));
  words = Object.assign({}, ...found);
  document.documentElement.lang = language;
}

/** All words of a language, which the server makes one file of. @param {string} name */
async function read(name) {
  const answer = await fetch(new URL(`../../words/${name}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`the catalogue ${name} is not there (${answer.status})`);
  return answer.json();
}

/** Show the page in another language. @param {string} name */
export function setLanguage(name) {
  localStorage.setItem("framepack.language", name);
  location.reload();
}

/**
 * Words for a key; `{name}` in them is replaced.
 *
 * @param {string} key `area.name`
 * @param {Record<string, any>} [values]
 */
export function t(key, values = {}) {
  const text = words[key];
  if (text === undefined) {
    console.error(`no words for ${key}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Words that depend on a count: `key.one` or `key.other`. */
export function tn(key, count, values = {}) {
  const form = new Intl.PluralRules(language).select(count) === "one" ? "one" : "other";
  return t(`${key}.${form}`, { count, ...values });
}

/** Words for a key, or others where there are none. @param {string} key @param {string} other */
export function tOr(key, other) {
  return words[key] ?? other;
}

/** The label of a field of the schema. @param {{name: string, title: string}} field */
export function fieldTitle(field) {
  return tOr(`fields.${field.name}.title`, field.title);
}

/** What a field of the schema does. @param {{name: string, help: string}} field */
export function fieldHelp(field) {
  return tOr(`fields.${field.name}.help`, field.help);
}
