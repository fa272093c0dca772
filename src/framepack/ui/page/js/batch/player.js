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
  const button = h("button", { class: "button", type: "button" });
  const place = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: "0", disabled: true, "aria-label": t("batch.time_in_videos") });
  const time = h("span", { class: "muted mono batch-clock" }, clock(0));
  const element = h("div", { class: "batch-player", hidden: true }, button, place, time);
  /** @type {Map<string, {url: string, movie: HTMLVideoElement}>} */
  const loaded = new Map();
  let isPlaying = false;
  let isClosed = false;
  let frame = 0;
  const movies = () => [...loaded.values()].map((each) => each.movie);
  const draw = (word) => replace(button, icon(isPlaying ? "pause" : "play"), word ?? t(isPlaying ? "batch.pause_all" : "batch.play_all"));
  const pause = () => {
    isPlaying = false;
    cancelAnimationFrame(frame);
    movies().forEach((movie) => movie.pause());
    draw();
  };
  const seek = (seconds) => {
    for (const movie of movies()) movie.currentTime = Math.min(seconds, movie.duration || 0);
    told(place, time, seconds, movies());
  };
  const run = () => {
    const all = movies();
    const lead = longest(all);
    if (!lead) return pause();
    keepStep(all, lead);
    told(place, time, lead.currentTime, all);
    frame = requestAnimationFrame(run);
    return undefined;
  };
  const start = async () => {
    button.disabled = true;
    try {
      await load(cells(), loaded, (done, count) => draw(t("batch.loading", { done, count })));
      if (isClosed) return reset();
      isPlaying = loaded.size > 0;
      place.disabled = loaded.size === 0;
      draw();
      run();
    } finally {
      button.disabled = false;
    }
    return undefined;
  };
  const reset = () => {
    pause();
    for (const { url, movie } of loaded.values()) {
      movie.remove();
      URL.revokeObjectURL(url);
    }
    loaded.clear();
    place.disabled = true;
  };
  button.addEventListener("click", () => (isPlaying ? pause() : start().catch(report)));
  place.addEventListener("input", () => seek(Number(place.value)));
  draw();
  const close = () => {
    isClosed = true;
    reset();
  };
  return { element, reset, close };
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

function told(place, time, seconds, movies) {
  place.max = String(longest(movies)?.duration ?? 1);
  place.value = String(seconds);
  place.setAttribute("aria-valuetext", clock(seconds));
  time.textContent = clock(seconds);
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
