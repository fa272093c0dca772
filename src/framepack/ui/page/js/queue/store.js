/** What is at work, waits, is paused or did not end well, and news of it. */

import { api } from "../lib/api.js";
import { live, newest } from "../lib/live.js";
import { report } from "../lib/notify.js";
import { debounce } from "../lib/state.js";

const PAGE = 30;
const OPEN = "queued,paused,running";
const ENDED_BADLY = "failed,cancelled";

/**
 * @typedef {object} QueueState
 * @property {any[]} running
 * @property {any[]} waiting in the order of their turn
 * @property {any[]} paused
 * @property {any[]} ended failed and cancelled ones, newest first
 * @property {boolean} hasMore ended ones
 * @property {boolean} isPaused
 */

/**
 * Follow the queue.
 *
 * @param {(state: QueueState) => void} onChange
 */
export function queueStore(onChange) {
  /** @type {Map<string, any>} */
  const videos = new Map();
  let order = [];
  let isPaused = false;
  const ended = endedPages();

  const tell = () => onChange(arranged([...videos.values()], order, { isPaused, hasMore: ended.hasMore }));
  const take = (queue) => {
    order = queue.waiting;
    isPaused = queue.paused;
    tell();
    if (order.some((id) => !videos.has(id))) readOpen();
  };
  const readOpen = debounce(async () => {
    try {
      for (const video of await newest(allOpen)) videos.set(video.id, video);
      tell();
    } catch (error) {
      report(error);
    }
  }, 60);
  const reload = async () => {
    const [queue, found] = await Promise.all([
      api.get("/queue"),
      newest(async () => (await Promise.all([allOpen(), ended.first()])).flat()),
    ]);
    videos.clear();
    for (const video of found) videos.set(video.id, video);
    order = queue.waiting;
    isPaused = queue.paused;
    tell();
  };
  const offs = [
    live.on("connected", (isThere) => isThere && reload().catch(report)),
    live.on("queue", take),
    live.on("video", (video) => {
      if (video.state === "completed") videos.delete(video.id);
      else videos.set(video.id, video);
      tell();
    }),
    live.on("deleted", ({ id }) => videos.delete(id) && tell()),
  ];
  return {
    reload,
    async more() {
      for (const video of await newest(ended.next)) videos.set(video.id, video);
      tell();
    },
    /** Show an order before the server has said it. @param {string[]} ids */
    assume(ids) {
      order = ids;
      tell();
    },
    setPaused: async (wanted) => take(await api.post(`/queue/${wanted ? "pause" : "resume"}`)),
    close() {
      readOpen.cancel();
      offs.forEach((off) => off());
    },
  };
}

/** Failed and cancelled videos, page by page. */
function endedPages() {
  let last = null;
  const pages = { hasMore: false, first: () => read(null), next: () => read(last) };
  async function read(after) {
    const page = await api.get("/videos", { state: ENDED_BADLY, limit: PAGE, after });
    pages.hasMore = page.has_more;
    last = page.last_id;
    return page.data;
  }
  return pages;
}

async function allOpen() {
  const found = [];
  let after = null;
  for (;;) {
    const page = await api.get("/videos", { state: OPEN, limit: 100, after });
    found.push(...page.data);
    if (!page.has_more) return found;
    after = page.last_id;
  }
}

/** @returns {QueueState} */
function arranged(videos, order, rest) {
  const place = new Map(order.map((id, index) => [id, index]));
  const of = (...states) => videos.filter((video) => states.includes(video.state));
  const turn = (video) => place.get(video.id) ?? order.length; // news of it may come before the queue's
  return {
    running: of("running"),
    waiting: of("queued").sort((a, b) => turn(a) - turn(b) || a.created_at - b.created_at),
    paused: of("paused").sort((a, b) => a.created_at - b.created_at),
    ended: of("failed", "cancelled").sort((a, b) => b.created_at - a.created_at),
    ...rest,
  };
}
