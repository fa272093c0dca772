/** Ask the server. Every route is one that other programs can call too. */

import { t } from "./i18n.js";
import { signal } from "./state.js";

/** Set when the server wants a key that the page has not got. */
export const needsKey = signal(false);

export class ApiError extends Error {
  /** @param {number} status 0 when the server did not answer @param {any} error */
  constructor(status, error) {
    super(error?.message ?? String(error));
    this.name = "ApiError";
    this.status = status;
    this.code = error?.code ?? null;
    this.param = error?.param ?? null;
  }
}

/**
 * Where something is, for `<img>`, `<video>` and links.
 *
 * @param {string} path without `/v1`
 * @param {Record<string, any>} [query] null and undefined are left out
 */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const words = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `/v1${path}${words ? `?${words}` : ""}`;
}

/** @param {string} method @param {string} path @param {any} [body] @param {any} [query] @param {any} [options] */
async function ask(method, path, body, query, options = {}) {
  const headers = { ...options.headers };
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      headers,
      body: body === undefined || isForm ? body : JSON.stringify(body),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { message: t("shell.no_answer"), code: "no_answer" });
  }
  return read(answer);
}

/** @param {Response} answer */
async function read(answer) {
  const kind = answer.headers.get("content-type") ?? "";
  const content = kind.includes("json") ? await answer.json() : await answer.text();
  if (answer.ok) return content;
  if (answer.status === 401) needsKey.value = true;
  throw new ApiError(answer.status, content?.error ?? { message: content || answer.statusText });
}

export const api = {
  /** @param {string} path @param {any} [query] @param {any} [options] */
  get: (path, query, options) => ask("GET", path, undefined, query, options),
  /** @param {string} path @param {any} [body] @param {any} [options] */
  post: (path, body, options) => ask("POST", path, body, undefined, options),
  /** @param {string} path @param {any} [body] */
  put: (path, body) => ask("PUT", path, body),
  /** @param {string} path @param {any} [body] */
  patch: (path, body) => ask("PATCH", path, body),
  /** @param {string} path */
  delete: (path) => ask("DELETE", path),
  upload,
};

/**
 * Send a file ahead of the request that uses it.
 *
 * @param {File | Blob} file
 * @param {{onProgress?: (share: number) => void, name?: string}} [options]
 * @returns {Promise<{id: string, filename: string, bytes: number}>}
 */
function upload(file, { onProgress, name } = {}) {
  const form = new FormData();
  form.append("file", file, name ?? (file instanceof File ? file.name : "picture.png"));
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not say how much it has sent
    request.open("POST", address("/uploads"));
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress?.(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(new ApiError(0, { message: t("shell.no_answer") }));
    request.onload = () => {
      if (request.status < 300) return resolve(request.response);
      if (request.status === 401) needsKey.value = true;
      return reject(new ApiError(request.status, request.response?.error ?? request.statusText));
    };
    request.send(form);
  });
}
