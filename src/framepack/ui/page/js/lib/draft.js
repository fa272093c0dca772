/**
 * The request that is being edited. It outlives the page: this browser keeps it, and the server
 * keeps what was generated last.
 */

import { signal } from "./state.js";

const STORED = "framepack.draft";

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
  try {
    return { ...empty(), ...JSON.parse(localStorage.getItem(STORED) ?? "{}") };
  } catch {
    return empty();
  }
}

const first = read();
const request = signal(first.request);
const options = signal(first.options);
const files = signal(first.files);

function keep() {
  localStorage.setItem(
    STORED,
    JSON.stringify({ request: request.value, options: options.value, files: files.value }),
  );
}
for (const each of [request, options, files]) each.subscribe(keep);

// Another tab edits the same draft.
window.addEventListener("storage", (event) => {
  if (event.key !== STORED) return;
  const other = read();
  request.value = other.request;
  options.value = other.options;
  files.value = other.files;
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
  /** Edit another request. @param {Record<string, any>} nextRequest @param {Record<string, any>} [nextOptions] @param {Record<string, any>} [nextFiles] */
  replace(nextRequest, nextOptions = {}, nextFiles = {}) {
    files.value = nextFiles;
    options.value = nextOptions;
    request.value = nextRequest;
  },
};
