/** What was entered into the tools' forms: this browser keeps it. */

import { store, stored } from "../lib/stored.js";

const STORED = "tools";

/**
 * @typedef {object} Entered
 * @property {Record<string, any>} values fields that differ from their defaults
 * @property {Record<string, Source[]>} files by field
 */

/**
 * @typedef {object} Source a file that a tool takes
 * @property {string} id of an upload, a video or a task
 * @property {string} name
 * @property {string | null} still address of a picture
 */

const read = () => stored(STORED, {});

/** @param {string} tool @returns {Entered} */
export function entered(tool) {
  return { values: {}, files: {}, ...read()[tool] };
}

/** @param {string} tool @param {Entered} what */
export function keep(tool, what) {
  store(STORED, { ...read(), [tool]: what, last: tool });
}

/** The tool that was used last. @returns {string | undefined} */
export function lastTool() {
  return read().last;
}

/** Have a tool begin with a file. @param {any} tool @param {Source} source */
export function useIn(tool, source) {
  const field = tool.fields.find((each) => each.kind === "file" && each.needed);
  const before = entered(tool.id);
  keep(tool.id, { ...before, files: { ...before.files, [field.name]: [source] } });
}
