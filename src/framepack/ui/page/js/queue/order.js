/** Change the turn of waiting videos. */

import { api } from "../lib/api.js";
import { report } from "../lib/notify.js";

/**
 * Put a waiting video at another place.
 *
 * The server knows two ways: before another one, or a priority, behind all others of the same. The
 * end of the queue is therefore the priority of who stands there.
 *
 * @param {any[]} waiting in their order, the video among them
 * @param {string} id
 * @param {number} place 0 first
 * @param {ReturnType<import("./store.js").queueStore>} store
 * @returns {Promise<boolean>} whether it stands elsewhere now
 */
export async function moveTo(waiting, id, place, store) {
  const from = waiting.findIndex((video) => video.id === id);
  const others = waiting.filter((video) => video.id !== id);
  const to = Math.max(0, Math.min(place, others.length));
  if (from < 0 || from === to) return false;
  const next = others[to];
  const ids = others.map((video) => video.id);
  store.assume([...ids.slice(0, to), id, ...ids.slice(to)]);
  try {
    await api.post(`/videos/${id}/move`, next ? { before: next.id } : { priority: others[others.length - 1].priority });
    return true;
  } catch (error) {
    report(error);
    await store.reload();
    return false;
  }
}
