/** News from the server, as they happen: one stream for the page, one for each watched video. */

import { address } from "./api.js";

const KINDS = ["video", "deleted", "queue", "task", "worker"];
const RETRY_MS = 2000;

/** @type {Map<string, Set<(data: any) => void>>} */
const handlers = new Map();
/** @type {EventSource | null} */
let source = null;
let isConnected = false;

function tell(kind, data) {
  for (const handler of [...(handlers.get(kind) ?? [])]) handler(data);
}

function connect() {
  source = new EventSource(address("/events"));
  source.onopen = () => {
    isConnected = true;
    tell("connected", true);
  };
  source.onerror = () => {
    if (isConnected) tell("connected", false);
    isConnected = false;
    if (source?.readyState === EventSource.CLOSED) window.setTimeout(connect, RETRY_MS);
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  }
}

export const live = {
  /** Begin to listen. */
  start() {
    if (!source) connect();
  },
  /**
   * Hear of something: a video (its newest state), a deleted one, the queue, a task, the worker,
   * or that the stream is "connected" (true) or lost (false). Reload lists when it comes back.
   *
   * @param {string} kind
   * @param {(data: any) => void} handler
   * @returns {() => void} ends it
   */
  on(kind, handler) {
    const all = handlers.get(kind) ?? new Set();
    handlers.set(kind, all.add(handler));
    return () => all.delete(handler);
  },
  get isConnected() {
    return isConnected;
  },
};

const EVENTS =
  "Queued Started Resumed Retried Paused Cancelled Failed Completed Expired Planned StageStarted StepDone SectionDone Finished".split(" ");

/**
 * Hear a video's log from its beginning, then as it grows. The server ends it with the video, and
 * the browser comes back for the rest after a loss.
 *
 * @param {string} id
 * @param {(kind: string, data: any) => void} handler
 * @returns {() => void} ends it
 */
export function videoEvents(id, handler) {
  const stream = new EventSource(address(`/videos/${id}/events`));
  for (const kind of EVENTS) {
    stream.addEventListener(kind, (event) => handler(kind, JSON.parse(event.data)));
  }
  return () => stream.close();
}
