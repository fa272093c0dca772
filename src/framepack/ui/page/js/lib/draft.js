/**
 * The request that is being edited. It outlives the page: this browser keeps it, and the server
 * keeps what was generated last.
 */

import { signal } from "./state.js";
import { onStored, store, stored } from "./stored.js";

const STORED = "draft";

/**
 * @typedef {object} Draft
 * @property {Record<string, any>} request fields that differ from unset; files are upload ids
 * @property {Record<string, any>} options what a job is to leave besides
 * @property {Record<string, {name: string, from?: string}>} files by upload id; `from` is where
 *   the server shows the picture (a path of the API)
 */

/** @returns {Draft} */
function empty() {
  return { request: {}, options: {}, files: {} };
}

/** @returns {Draft} */
function read() {
  return { ...empty(), ...stored(STORED, {}) };
}

const first = read();
const request = signal(first.request);
const options = signal(first.options);
const files = signal(first.files);

let isOthers = false;

function keep() {
  if (isOthers) return; // what is written back may be older than what is typed there meanwhile
  store(STORED, { request: request.value, options: options.value, files: usedFiles() });
}
for (const each of [request, options, files]) each.subscribe(keep);

/** Facts of the files that the draft still names: every picture that was ever tried would add up. */
function usedFiles() {
  const said = JSON.stringify([request.value, options.value]);
  return Object.fromEntries(Object.entries(files.value).filter(([id]) => said.includes(id)));
}

/** @param {Draft} next */
function take(next) {
  files.value = next.files;
  options.value = next.options;
  request.value = next.request;
}

// Another tab edits the same draft.
onStored(STORED, () => {
  isOthers = true;
  try {
    take(read());
  } finally {
    isOthers = false;
  }
});

/** @param {Record<string, any>} values @param {string} name @param {any} value */
function with_(values, name, value) {
  const next = { ...values };
  if (value === undefined || value === null || value === "") delete next[name];
  else next[name] = value;
  return next;
}

export const draft = {
  request,
  options,
  files,
  /** Change a field; undefined, null and "" unset it. @param {string} name @param {any} value */
  set(name, value) {
    request.value = with_(request.value, name, value);
  },
  /** Change an option. @param {string} name @param {any} value */
  setOption(name, value) {
    options.value = with_(options.value, name, value);
  },
  /** Remember what a file is called and where it can be seen. */
  addFile(id, facts) {
    files.value = { ...files.value, [id]: facts };
  },
  /** All of it, to be kept elsewhere. @returns {Draft} */
  copy: () => ({ request: request.value, options: options.value, files: usedFiles() }),
  /**
   * Edit another request.
   *
   * @param {Record<string, any>} nextRequest
   * @param {Record<string, any>} [nextOptions]
   * @param {Record<string, any>} [nextFiles]
   * @returns {() => void} brings back what was edited before
   */
  replace(nextRequest, nextOptions = {}, nextFiles = {}) {
    const before = { request: request.value, options: options.value, files: files.value };
    take({ request: nextRequest, options: nextOptions, files: nextFiles });
    return () => take(before);
  },
};
