/** What people call the files of a task. */

import { api } from "../lib/api.js";
import { tOr } from "../lib/i18n.js";

/** Prompts by video. @type {Map<string, Promise<string | null>>} */
const prompts = new Map();

/**
 * A file's name; for a video of this server, the prompt that it was made from.
 *
 * @param {string} name as the server says it, such as "video of video_…"
 * @returns {Promise<string>}
 */
export async function nameOf(name) {
  const id = /^(?:video|raw) of (video_\w+)$/.exec(name)?.[1];
  if (id) {
    if (!prompts.has(id)) prompts.set(id, api.get(`/videos/${id}`).then((video) => video.prompt || null, () => null));
    return (await prompts.get(id)) ?? name;
  }
  return /^video of task_/.test(name) ? tOr("tools.of_a_task", name) : name;
}
