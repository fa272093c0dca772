/**
 * News from the server, as they happen: one stream for the page, one for each video at work.
 *
 * Browsers open six connections to a server, for all tabs together. A tab that nobody sees
 * therefore lets its streams rest, and goes on where it was when somebody does.
 */

import { address, api, needsKey } from "./api.js";

const KINDS = ["video", "deleted", "queue", "task", "worker"];
const RETRY_MS = 2000;
const REST_AFTER_MS = 10_000;

/** @type {Map<string, Set<(data: any) => void>>} */
const handlers = new Map();
/** @type {EventSource | null} */
let source = null;
let isConnected = false;
let isStarted = false;

function tell(kind, data) {
  for (const handler of [...(handlers.get(kind) ?? [])]) handler(data);
}

function connect() {
  if (source) return;
  source = new EventSource(address("/events"));
  source.onopen = () => {
    isConnected = true;
    tell("connected", true);
  };
  source.onerror = () => {
    if (isConnected) tell("connected", false);
    isConnected = false;
    if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
    disconnect();
    askForKey().catch(() => {}).finally(() => window.setTimeout(() => document.hidden || connect(), RETRY_MS));
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  }
}

function disconnect() {
  source?.close();
  source = null;
  isConnected = false;
}

/** A key that was revoked ends the stream without saying so. */
async function askForKey() {
  const session = await api.get("/session");
  if (session.needs_key && !session.signed_in) needsKey.value = true;
}

/** Call something when the tab is seen again, and something else some time after it no longer is. */
function whileSeen(onSeen, onHidden) {
  let timer = 0;
  const change = () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(onHidden, REST_AFTER_MS);
    else onSeen();
  };
  document.addEventListener("visibilitychange", change);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", change);
  };
}

export const live = {
  /** Begin to listen. */
  start() {
    if (isStarted) return;
    isStarted = true;
    connect();
    whileSeen(connect, disconnect);
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

/**
 * Read videos while news of them come: what was told meanwhile is newer than the answer.
 *
 * @param {() => Promise<any[]>} read
 * @returns {Promise<any[]>}
 */
export async function newest(read) {
  const told = new Map();
  const offs = [
    live.on("video", (video) => told.set(video.id, video)),
    live.on("deleted", ({ id }) => told.set(id, null)),
  ];
  try {
    const found = await read();
    return found.map((video) => (told.has(video.id) ? told.get(video.id) : video)).filter(Boolean);
  } finally {
    offs.forEach((off) => off());
  }
}

const EVENTS =
  "Queued Started Resumed Retried Paused Cancelled Failed Completed Expired Partial Planned StageStarted StepDone SectionDone Finished".split(" ");
const AT_WORK = new Set(["Started", "Resumed"]);
const RESTING = new Set(["Queued", "Retried", "Paused", "Cancelled", "Failed", "Completed", "Expired"]);
const QUIET_MS = 1500;

/**
 * Hear a video's log from its beginning, then as it grows. While the video is not at work the
 * stream rests, until the other one tells that it is.
 *
 * @param {string} id
 * @param {(kind: string, data: any) => void} handler
 * @param {boolean} [isWaiting] nothing has happened to it yet
 * @returns {() => void} ends it
 */
export function videoEvents(id, handler, isWaiting = false) {
  /** @type {EventSource | null} */
  let stream = null;
  let seen = 0;
  let isAtWork = false;
  let timer = 0;
  const rest = () => {
    stream?.close();
    stream = null;
  };
  const restSoon = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => (isAtWork || !live.isConnected ? undefined : rest()), QUIET_MS);
  };
  const open = () => {
    if (stream && stream.readyState !== EventSource.CLOSED) return;
    stream = new EventSource(address(`/videos/${id}/events`, { after: seen || null }));
    stream.onopen = restSoon;
    for (const kind of EVENTS) stream.addEventListener(kind, (event) => hear(kind, event));
  };
  const hear = (kind, event) => {
    seen = Number(event.lastEventId) || seen;
    if (AT_WORK.has(kind)) isAtWork = true;
    else if (RESTING.has(kind)) isAtWork = false;
    restSoon();
    handler(kind, JSON.parse(event.data));
  };
  const offs = [
    whileSeen(open, rest),
    live.on("video", (video) => video.id === id && !document.hidden && open()),
    live.on("connected", (isThere) => {
      if (!isThere) return;
      open();
      restSoon();
    }),
  ];
  if (!isWaiting) open();
  return () => {
    clearTimeout(timer);
    offs.forEach((off) => off());
    rest();
  };
}
