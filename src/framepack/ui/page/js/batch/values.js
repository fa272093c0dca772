/** Several values of a setting, as people write them. */

import { number } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/** Values of one setting at most. */
const MOST_VALUES = 500;
const NUMBER = "[+-]?(?:\\d+\\.?\\d*|\\.\\d+)";
const RANGE = new RegExp(`^(${NUMBER})\\s*(?:-|–|\\.\\.)\\s*(${NUMBER})(?:\\s*(?:step|schritt|:)\\s*(${NUMBER}))?$`, "i");

/** What is wrong with what was written, in the page's language. */
export class ValueError extends Error {
  constructor(text) {
    super(text);
    this.name = "ValueError";
  }
}

/**
 * Numbers: "4, 8, 16", "1-5", "1-9 step 2".
 *
 * @param {string} text
 * @param {{kind: string, min: number | null, max: number | null, exclusive_min?: boolean}} field
 * @returns {number[]} each once, in their order
 */
export function parseNumbers(text, field) {
  const found = new Set();
  for (const token of text.split(/[,;\n]/).map((word) => word.trim()).filter(Boolean)) {
    for (const value of range(token)) {
      check(value, token, field);
      found.add(value);
      if (found.size > MOST_VALUES) throw new ValueError(t("batch.too_many_values", { most: number(MOST_VALUES) }));
    }
  }
  return [...found];
}

/** @returns {Generator<number>} */
function* range(token) {
  const match = RANGE.exec(token);
  if (!match) {
    if (!new RegExp(`^${NUMBER}$`).test(token)) throw new ValueError(t("batch.no_number", { value: token }));
    yield Number(token);
    return;
  }
  const [from, to] = [Number(match[1]), Number(match[2])];
  const step = Math.abs(Number(match[3] ?? 1));
  if (step === 0) throw new ValueError(t("batch.no_step", { value: token }));
  const count = Math.floor(Math.abs(to - from) / step + 1e-9);
  if (count >= MOST_VALUES) throw new ValueError(t("batch.too_many_values", { most: number(MOST_VALUES) }));
  for (let index = 0; index <= count; index += 1) {
    yield Number((from + Math.sign(to - from) * index * step).toPrecision(12));
  }
}

function check(value, token, { kind, min, max, exclusive_min: isAbove }) {
  if (kind === "integer" && !Number.isInteger(value)) throw new ValueError(t("batch.not_whole", { value: token }));
  if (min !== null && (value < min || (isAbove && value === min))) {
    throw new ValueError(t(isAbove ? "batch.not_above" : "batch.too_small", { value, min }));
  }
  if (max !== null && value > max) throw new ValueError(t("batch.too_large", { value, max }));
}

/** Lines with something in them, each once. @param {string} text */
export function parseLines(text) {
  const found = [...new Set(text.split("\n").map((line) => line.trim()).filter(Boolean))];
  if (found.length > MOST_VALUES) throw new ValueError(t("batch.too_many_values", { most: number(MOST_VALUES) }));
  return found;
}

/**
 * Words in the place of a word: "fox => cat | dog".
 *
 * @param {string} text
 * @returns {{word: string, others: string[]}}
 */
export function parseReplacement(text) {
  const [word, list, ...rest] = text.split("=>").map((part) => part.trim());
  if (!word || !list || rest.length) throw new ValueError(t("batch.no_replacement"));
  return { word, others: [...new Set(list.split("|").map((other) => other.trim()))] };
}
