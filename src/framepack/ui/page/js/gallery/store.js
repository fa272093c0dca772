/** The videos that the gallery has read, and news of them. */

import { api } from "../lib/api.js";
import { live, newest } from "../lib/live.js";
import { report } from "../lib/notify.js";
import { contentOf } from "./facts.js";

const PAGE = 30;
const ENDED = "completed,cancelled,failed";
/** What the filter offers, as states of the API. */
export const STATES = {
  made: ENDED,
  completed: "completed",
  cancelled: "cancelled",
  failed: "failed",
  waiting: "queued,paused,running",
};

/**
 * Read videos, newest first, in pages.
 *
 * @param {(videos: any[], hasMore: boolean) => void} onChange
 */
export function videoStore(onChange) {
  /** @type {Map<string, any>} */
  const known = new Map();
  let wanted = { search: "", state: "made", group: null };
  let last = null;
  let hasMore = false;
  let turn = 0;

  const tell = () => {
    const videos = [...known.values()].filter((video) => isShown(video, wanted));
    onChange(videos.sort(newestFirst), hasMore);
  };
  const read = async (after) => {
    turn += 1;
    const mine = turn;
    let page;
    const found = await newest(async () => {
      page = await api.get("/videos", { limit: PAGE, after, search: wanted.search || null, state: STATES[wanted.state], group: wanted.group });
      return page.data;
    });
    if (mine !== turn) return;
    if (!after) known.clear();
    for (const video of found) known.set(video.id, video);
    last = page.last_id;
    hasMore = page.has_more;
    tell();
  };
  const reload = () => read(null).catch(report);
  const offs = [
    live.on("connected", (isThere) => isThere && reload()),
    live.on("video", (video) => {
      if (!known.has(video.id) && (wanted.search || !isShown(video, wanted))) return;
      known.set(video.id, video);
      tell();
    }),
    live.on("deleted", ({ id }) => known.delete(id) && tell()),
  ];
  return {
    /** Show others. @param {Partial<typeof wanted>} change */
    want(change) {
      wanted = { ...wanted, ...change };
      return reload();
    },
    more: () => read(last).catch(report),
    close: () => offs.forEach((off) => off()),
    get wanted() {
      return wanted;
    },
  };
}

function newestFirst(a, b) {
  return b.created_at - a.created_at || (a.id < b.id ? 1 : -1);
}

/** Stopped videos are shown with what was made where something was, or when they are asked for. */
function isShown(video, { state, group }) {
  if (!STATES[state].split(",").includes(video.state)) return false;
  if (group !== null && video.group !== group) return false;
  return state !== "made" || video.state !== "cancelled" || contentOf(video) !== null;
}
