/** Files on their way to the server, and what is known of those that are there. */

import { address, api } from "../lib/api.js";
import { draft } from "../lib/draft.js";

/** What this page itself sent, to be shown at once. @type {Map<string, string>} */
const here = new Map();

/**
 * Send a file, and remember it beside the draft.
 *
 * @param {File} file
 * @param {(share: number) => void} [onProgress] from 0 to 1
 * @returns {Promise<string>} id of the upload
 */
export async function send(file, onProgress) {
  const sent = await api.upload(file, { onProgress });
  here.set(sent.id, URL.createObjectURL(file));
  draft.addFile(sent.id, { name: file.name, from: `/uploads/${sent.id}/content` });
  return sent.id;
}

/** What an upload is called. @param {string} id */
export function fileName(id) {
  return draft.files.value[id]?.name ?? id;
}

/** Where an upload can be seen: this page's own copy, else the server's. @param {string} id */
export function fileAddress(id) {
  return here.get(id) ?? address(draft.files.value[id]?.from ?? `/uploads/${encodeURIComponent(id)}/content`);
}
