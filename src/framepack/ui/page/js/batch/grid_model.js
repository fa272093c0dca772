/** Videos of a group as the grid that they were asked for as: read back from their labels. */

import { JOIN, partsOf } from "./combos.js";

/**
 * @typedef {{title: string, values: string[]}} GridAxis
 * @typedef {object} Grid
 * @property {GridAxis | null} x columns; null when the videos form no grid
 * @property {GridAxis | null} y rows
 * @property {GridAxis | null} z tabs
 * @property {any[]} videos newest of each label, in the order in which they were asked for
 * @property {(x: string, y?: string, z?: string) => any} cell the video of a place, or undefined
 */

/**
 * Arrange videos.
 *
 * @param {Iterable<any>} given
 * @returns {Grid}
 */
export function gridOf(given) {
  const byLabel = new Map();
  const inTurn = [...given].sort((a, b) => a.created_at - b.created_at || turn(a) - turn(b));
  for (const video of inTurn) byLabel.set(video.label || video.id, video);
  const videos = [...byLabel.values()];
  const labels = videos.map((video) => partsOf(video.label));
  const [first = []] = labels;
  const isGrid = first.length >= 2 && first.length <= 3 && labels.every((parts) => hasTitles(parts, first));
  const axes = isGrid ? first.map(({ title }, place) => ({ title, values: [...new Set(labels.map((parts) => parts[place].value))] })) : [];
  const [x = null, y = null, z = null] = axes.reverse();
  const cells = new Map(videos.map((video, index) => [labels[index].map((part) => part.value).join(JOIN), video]));
  return { x, y, z, videos, cell: (...place) => cells.get(place.filter((value) => value !== undefined).reverse().join(JOIN)) };
}

/** Jobs of the same second stand as the server listed them. */
function turn(video) {
  return video.turn ?? 0;
}

function hasTitles(parts, first) {
  return parts.length === first.length && parts.every(({ title }, place) => title && title === first[place].title);
}
