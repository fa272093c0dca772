/** Files on their way to the server, and what is known of those that are there. */

import { address, api } from "../lib/api.js";
import { draft } from "../lib/draft.js";

/** @type {Set<Promise<string>>} */
const underWay = new Set();

/**
 * Send a file, and remember it beside the draft.
 *
 * @param {File} file
 * @param {(share: number) => void} [onProgress] from 0 to 1
 * @returns {Promise<string>} id of the upload
 */
export function send(file, onProgress) {
  const work = api.upload(file, { onProgress }).then(({ id }) => {
    draft.addFile(id, { name: file.name, from: `/uploads/${id}/content` });
    return id;
  });
  underWay.add(work);
  const done = () => underWay.delete(work);
  work.then(done, done);
  return work;
}

/** Wait until the files under way are there: who asks for a video means them too. @throws what one of them failed with */
export async function allSent() {
  await Promise.all(underWay);
}

/** What an upload is called. @param {string} id */
export function fileName(id) {
  return draft.files.value[id]?.name ?? id;
}

/** Where an upload can be seen. @param {string} id */
export function fileAddress(id) {
  return address(draft.files.value[id]?.from ?? `/uploads/${encodeURIComponent(id)}/content`);
}
