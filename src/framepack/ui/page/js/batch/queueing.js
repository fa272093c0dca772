/** Queue many videos: each once, whatever happens on the way. */

import { api } from "../lib/api.js";
import { store, stored } from "../lib/stored.js";

const STORED = "batch.sending";
const TRIES = 4;
const WAIT_MS = 1500;
const NO_MORE = ["queue_full", "quota_exceeded"];

/**
 * @typedef {object} Outcome
 * @property {any[]} made videos
 * @property {{label: string, message: string}[]} failed
 * @property {string} stopped why the rest was not asked for; "" when all were
 */

/**
 * Queue combinations one after the other.
 *
 * Each has a key of its own. Until all are queued the same combinations keep the same keys, so to
 * press the button again after an error, a lost connection or a reload makes none twice.
 *
 * @param {import("./combos.js").Combo[]} combos
 * @param {any} options group and what else each job gets
 * @param {(done: number) => void} onProgress
 * @returns {Promise<Outcome>}
 */
export async function queueAll(combos, options, onProgress) {
  const bodies = combos.map(({ request, label }) => ({ ...request, ...options, label }));
  const run = runOf(bodies);
  const outcome = { made: [], failed: [], stopped: "" };
  for (const [index, body] of bodies.entries()) {
    try {
      outcome.made.push(await send(body, `${run}-${index}`));
    } catch (error) {
      if (error.status === 0 || NO_MORE.includes(error.code)) {
        outcome.stopped = error.message;
        return outcome;
      }
      outcome.failed.push({ label: body.label, message: error.message });
    }
    onProgress(index + 1);
  }
  if (!outcome.failed.length) store(STORED, undefined);
  return outcome;
}

async function send(body, key) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.post("/videos", body, { headers: { "Idempotency-Key": key } });
    } catch (error) {
      const mayPass = error.status === 0 || error.status === 503 || (error.status === 429 && !NO_MORE.includes(error.code));
      if (!mayPass || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS * tries));
    }
  }
}

/** The name of this sending: the same as before if the same was not sent to its end. */
function runOf(bodies) {
  const print = fingerprint(JSON.stringify(bodies));
  const known = stored(STORED, null);
  if (known?.print === print) return known.run;
  const run = [...crypto.getRandomValues(new Uint32Array(4))].map((word) => word.toString(16).padStart(8, "0")).join("");
  store(STORED, { print, run });
  return run;
}

/** FNV-1a of 2 x 32 bits and the length: tells requests apart, and keeps no secret. */
function fingerprint(text) {
  let [one, two] = [0x811c9dc5, 0x9dc5811c];
  for (let index = 0; index < text.length; index += 1) {
    one = Math.imul(one ^ text.charCodeAt(index), 0x01000193);
    two = Math.imul(two ^ text.charCodeAt(text.length - 1 - index), 0x01000193);
  }
  return `${text.length}-${one >>> 0}-${two >>> 0}`;
}
