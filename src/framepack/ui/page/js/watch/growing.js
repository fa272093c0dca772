/**
 * Play a video while it renders: its parts go into a MediaSource at their own times, so that a
 * forward-only video grows at its end and a bi-directional one toward its start, and what plays
 * plays on. See docs/how-to/live.md for the parts.
 */

import { address } from "../lib/api.js";

/** Whether this browser can put parts together; else it is given the playlist itself. */
const canAssemble = "MediaSource" in window || "ManagedMediaSource" in window;
/** Fewer frames than this would only flicker. */
export const ENOUGH_S = 0.5;
const NEAR_END_S = 0.06;
const STARVED_S = 0.4; // a decoder that is not told of an end keeps its last frames back

/**
 * Let an element play what there is of a video, over and over, until it is closed.
 *
 * @param {HTMLVideoElement} element
 * @param {string} id of the video
 * @param {{duration: number, startAt?: number, onGrown?: (start: number, end: number) => void}} options
 *   seconds; `startAt` is where to begin once there are frames
 * @returns {{refresh: () => Promise<void>, close: () => void}} `refresh` after a section is done
 */
export function playGrowing(element, id, options) {
  return canAssemble ? new Growing(element, id, options) : playlist(element, id);
}

/** Safari on phones plays playlists by itself. */
function playlist(element, id) {
  const load = async () => {
    element.src = address(`/videos/${id}/stream/playlist.m3u8`);
  };
  load();
  return { refresh: load, close: () => element.removeAttribute("src") };
}

class Growing {
  constructor(element, id, { duration, startAt = null, onGrown }) {
    Object.assign(this, { element, id, duration, startAt, onGrown });
    this.known = new Set();
    this.isClosed = false;
    /** @type {Promise<void>} */
    this.work = Promise.resolve();
    const Source = window.MediaSource ?? window.ManagedMediaSource;
    this.source = new Source();
    this.url = URL.createObjectURL(this.source);
    element.disableRemotePlayback = true; // a ManagedMediaSource asks for it
    element.src = this.url;
    this.opened = new Promise((resolve) => this.source.addEventListener("sourceopen", resolve, { once: true }));
    this.again = (event) => this.loop(event.type === "waiting" ? STARVED_S : NEAR_END_S);
    for (const type of ["timeupdate", "waiting", "ended"]) element.addEventListener(type, this.again);
  }

  /** Fetch what is new. Calls wait for one another. */
  refresh() {
    this.work = this.work.then(() => this.append()).catch((error) => {
      if (!this.isClosed && error.name !== "AbortError") console.warn(`parts of ${this.id}: ${error.message}`);
    });
    return this.work;
  }

  async append() {
    await this.opened;
    if (this.isClosed) return;
    const answer = await this.get("run.m3u8");
    if (!answer) return;
    const lines = (await answer.text()).split("\n");
    for (const name of lines.filter((line) => line && line[0] !== "#" && !this.known.has(line))) {
      if (!this.buffer && !(await this.begin(lines))) return;
      const part = await this.get(name);
      if (!part) return;
      const before = this.range();
      await this.add(await part.arrayBuffer());
      if (this.isClosed) return;
      this.known.add(name);
      this.follow(before);
    }
  }

  async begin(lines) {
    const map = lines.find((line) => line.startsWith("#EXT-X-MAP"))?.split('"')[1];
    const init = map && (await this.get(map));
    if (!init || this.isClosed) return false;
    this.buffer = this.source.addSourceBuffer(init.headers.get("content-type"));
    this.source.duration = this.duration;
    await this.add(await init.arrayBuffer());
    return true;
  }

  async get(name) {
    const answer = await fetch(address(`/videos/${this.id}/stream/${name}`));
    return this.isClosed || !answer.ok ? null : answer;
  }

  add(bytes) {
    if (this.isClosed) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.buffer.addEventListener("updateend", resolve, { once: true });
      this.buffer.addEventListener("error", () => reject(new Error("the browser cannot play it")), { once: true });
      this.buffer.appendBuffer(bytes);
    });
  }

  range() {
    const { buffered } = this.element;
    return buffered.length ? { start: buffered.start(0), end: buffered.end(buffered.length - 1) } : null;
  }

  /** Stand where there are frames: at the first ones, or where one was before a reload. */
  follow(before) {
    const now = this.range();
    if (!now) return;
    if (!before || this.element.currentTime < now.start) {
      const asked = this.startAt ?? now.start;
      this.element.currentTime = asked >= now.start && asked < now.end ? asked : now.start;
    }
    this.onGrown?.(now.start, now.end);
  }

  /** What there is is shown again when it has been played. */
  loop(margin) {
    const now = this.range();
    const { element } = this;
    if (!now || element.seeking || element.paused || now.end - now.start < ENOUGH_S) return;
    if (element.currentTime >= now.end - margin || element.currentTime < now.start - NEAR_END_S) {
      element.currentTime = now.start;
      if (element.ended) element.play().catch(() => {});
    }
  }

  close() {
    this.isClosed = true;
    for (const type of ["timeupdate", "waiting", "ended"]) this.element.removeEventListener(type, this.again);
    URL.revokeObjectURL(this.url);
    this.element.removeAttribute("src");
    this.element.load();
  }
}
