/** Play the videos of a grid in step. */

import { h, icon, replace } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { contentOf } from "../gallery/facts.js";

const AT_ONCE = 3;
const DRIFT_S = 0.12;

/**
 * A bar with a button and a place in time.
 *
 * @param {() => Iterable<{id: string, video: any, picture: HTMLElement}>} cells those that are shown
 * @returns {{element: HTMLElement, reset: () => void, close: () => void}}
 */
export function together(cells) {
  const player = new Together(cells);
  return { element: player.element, reset: () => player.reset(), close: () => player.close() };
}

class Together {
  constructor(cells) {
    this.cells = cells;
    this.button = h("button", { class: "button", type: "button" });
    this.place = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: "0", disabled: true, "aria-label": t("batch.time_in_videos") });
    this.time = h("span", { class: "muted mono batch-clock" }, clock(0));
    this.element = h("div", { class: "batch-player", hidden: true }, this.button, this.place, this.time);
    /** @type {Map<string, {url: string, movie: HTMLVideoElement}>} */
    this.loaded = new Map();
    this.isPlaying = false;
    this.isClosed = false;
    this.frame = 0;
    this.button.addEventListener("click", () => (this.isPlaying ? this.pause() : this.start().catch(report)));
    this.place.addEventListener("input", () => this.seek(Number(this.place.value)));
    this.draw();
  }

  get movies() {
    return [...this.loaded.values()].map((each) => each.movie);
  }

  draw(word) {
    replace(this.button, icon(this.isPlaying ? "pause" : "play"), word ?? t(this.isPlaying ? "batch.pause_all" : "batch.play_all"));
  }

  tell(seconds) {
    this.place.max = String(longest(this.movies)?.duration ?? 1);
    this.place.value = String(seconds);
    this.place.setAttribute("aria-valuetext", clock(seconds));
    this.time.textContent = clock(seconds);
  }

  async start() {
    this.button.disabled = true;
    try {
      await load(this.cells(), this.loaded, (done, count) => this.draw(t("batch.loading", { done, count })));
      if (this.isClosed) return this.reset();
      this.isPlaying = this.loaded.size > 0;
      this.place.disabled = this.loaded.size === 0;
      this.draw();
      this.run();
    } finally {
      this.button.disabled = false;
    }
    return undefined;
  }

  run() {
    const all = this.movies;
    const lead = longest(all);
    if (!lead) return this.pause();
    keepStep(all, lead);
    this.tell(lead.currentTime);
    this.frame = requestAnimationFrame(() => this.run());
    return undefined;
  }

  pause() {
    this.isPlaying = false;
    cancelAnimationFrame(this.frame);
    this.movies.forEach((movie) => movie.pause());
    this.draw();
  }

  seek(seconds) {
    for (const movie of this.movies) movie.currentTime = Math.min(seconds, movie.duration || 0);
    this.tell(seconds);
  }

  reset() {
    this.pause();
    for (const { url, movie } of this.loaded.values()) {
      movie.remove();
      URL.revokeObjectURL(url);
    }
    this.loaded.clear();
    this.place.disabled = true;
  }

  close() {
    this.isClosed = true;
    this.reset();
  }
}

/** Bring those that are off to where the longest one is; all begin again together. */
function keepStep(movies, lead) {
  if (movies.every((movie) => movie.ended)) movies.forEach((movie) => { movie.currentTime = 0; });
  for (const movie of movies) {
    const isOff = Math.abs(movie.currentTime - lead.currentTime) > DRIFT_S && lead.currentTime < movie.duration;
    if (isOff) movie.currentTime = lead.currentTime;
    if (movie.paused && lead.currentTime < movie.duration - DRIFT_S) movie.play().catch(() => undefined); // left meanwhile
  }
}

function longest(movies) {
  return movies.reduce((best, movie) => (!best || movie.duration > best.duration ? movie : best), null);
}

/** Read whole files: players that stream would take each other's connections. */
async function load(cells, loaded, onProgress) {
  const missing = [...cells].filter(({ id, video }) => !loaded.has(id) && contentOf(video)?.is === "video");
  const count = missing.length;
  let done = 0;
  const next = async () => {
    for (let cell = missing.shift(); cell; cell = missing.shift()) {
      const answer = await fetch(contentOf(cell.video).url);
      if (answer.ok) {
        const url = URL.createObjectURL(await answer.blob());
        loaded.set(cell.id, { url, movie: await movieIn(cell.picture, url) });
      }
      done += 1;
      onProgress(done, count);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}

function movieIn(picture, url) {
  const movie = h("video", { class: "batch-movie", muted: true, playsInline: true, preload: "auto", tabIndex: -1, src: url });
  picture.append(movie);
  return new Promise((resolve) => {
    for (const type of ["loadeddata", "error"]) movie.addEventListener(type, () => resolve(movie), { once: true });
  });
}
