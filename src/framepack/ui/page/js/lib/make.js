/** Ask for a video. */

import { api } from "./api.js";

/** @type {Map<string, string>} requests whose answer was lost, and the keys that they went with */
const unanswered = new Map();

/**
 * Have a video queued. When the answer is lost, asking for the same again makes no second one.
 *
 * @param {Record<string, any>} body as `/v1/videos` takes it
 * @returns {Promise<any>} the video
 */
export async function makeVideo(body) {
  const text = JSON.stringify(body);
  const key = unanswered.get(text) ?? newKey();
  unanswered.set(text, key);
  try {
    const video = await api.post("/videos", body, { headers: { "Idempotency-Key": key } });
    unanswered.delete(text);
    return video;
  } catch (error) {
    if (error.status !== 0) unanswered.delete(text);
    throw error;
  }
}

/** 128 random bits; `randomUUID` is not there for pages that came by plain HTTP from elsewhere. */
function newKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16).padStart(8, "0")).join("");
}
