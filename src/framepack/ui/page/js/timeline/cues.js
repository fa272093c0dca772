/**
 * What is said of single sections, and what it comes to in each of them: the rules of the server
 * (docs/how-to/sections.md), so that the strip changes as one types.
 *
 * @typedef {"prompt" | "image" | "seed"} Kind
 * @typedef {Record<string, any>} Cue fields of the API's cues; absent and null are the same
 * @typedef {object} Grid the sections in which cues are placed, from the start of the video
 * @property {number[]} starts seconds
 * @property {number} duration seconds
 *
 * @typedef {object} Held what holds in a section
 * @property {any} value
 * @property {number} from section in which it begins
 * @property {number} until first section in which it no longer holds
 * @property {boolean} isBounded it has an end of its own
 */

/** Field of a request for each kind of content. */
export const FIELDS = { prompt: "section_prompts", image: "section_images", seed: "section_seeds" };
const CONTENTS = ["prompt", "image", "seed", "loras"];
const PLACES = ["section", "every", "until_section", "time_s", "until_s", "line", "num_lines"];
const LISTS = { ...FIELDS, loras: "section_loras" };

/** Only what a cue says. @param {Cue} cue @returns {Cue} */
function said(cue) {
  return Object.fromEntries(Object.entries(cue).filter(([, value]) => value !== null && value !== undefined));
}

/**
 * A request's cues as lists of objects with one content each, whatever form they were given in.
 *
 * @param {Record<string, any>} request as it is edited
 * @param {Record<string, any> | null} planned the same request as the server read it
 * @returns {Record<string, Cue[]>} by field
 */
export function readCues(request, planned) {
  /** @type {Record<string, Cue[]>} */
  const found = Object.fromEntries(Object.values(LISTS).map((name) => [name, []]));
  for (const [kind, name] of Object.entries(LISTS)) {
    for (const cue of asObjects(request[name], planned?.[name], kind)) {
      const place = Object.fromEntries(PLACES.filter((key) => cue[key] !== undefined).map((key) => [key, cue[key]]));
      for (const content of CONTENTS) {
        if (cue[content] !== undefined) found[LISTS[content]].push({ ...place, [content]: cue[content] });
      }
    }
  }
  return found;
}

function asObjects(value, planned, kind) {
  const isList = Array.isArray(value);
  if (isList && value.every((entry) => entry && typeof entry === "object")) return value.map(said);
  // Only ids of uploads would get lost on the way: what the server read has names in their place.
  if (isList && kind === "image") {
    return value.map((entry, line) => (typeof entry === "object" ? said(entry) : { line, num_lines: value.length, image: entry }));
  }
  if (kind === "image" && value && typeof value === "object") {
    return Object.entries(value).map(([section, entry]) => ({ section: Number(section), ...(typeof entry === "object" ? said(entry) : { image: entry }) }));
  }
  return value ? (planned ?? []).map(said) : [];
}

/**
 * Where a cue holds: one stretch, or single sections; empty where the video has no such place.
 *
 * @param {Cue} cue
 * @param {Grid} grid
 * @returns {{first: number, until: number, isBounded: boolean, rank: number[], step: number}[]}
 */
export function places(cue, grid) {
  const count = grid.starts.length;
  if (cue.every) {
    const found = [];
    for (let section = cue.every === "odd" ? 1 : 0; section < count; section += 2) {
      found.push({ first: section, until: section + 1, isBounded: true, rank: [section, 0, 0, 0], step: found.length });
    }
    return found;
  }
  const first = firstOf(cue, grid);
  if (first === null || first < 0 || first >= count) return [];
  let until = count;
  const isBounded = cue.until_section !== undefined || cue.until_s !== undefined;
  if (cue.until_section !== undefined) until = cue.until_section + (cue.until_section <= 0 ? count : 0);
  else if (cue.until_s !== undefined) until = first + 1 + nearest(cue.until_s, [...grid.starts.slice(first + 1), grid.duration]);
  if (until <= first || until > count) return [];
  const isFromEnd = cue.section !== undefined && cue.section < 0;
  return [{ first, until, isBounded, rank: [first, 1, Number(isBounded), Number(isFromEnd)], step: 0 }];
}

function firstOf(cue, { starts, duration }) {
  const count = starts.length;
  if (cue.line !== undefined) return cue.num_lines > count ? null : Math.ceil((cue.line * count) / cue.num_lines);
  if (cue.section !== undefined) return cue.section < 0 ? cue.section + count : cue.section;
  if (cue.time_s !== undefined) return cue.time_s >= duration ? null : nearest(cue.time_s, starts);
  return 0;
}

function nearest(time, times) {
  let best = 0;
  times.forEach((each, index) => {
    if (Math.abs(each - time) < Math.abs(times[best] - time)) best = index;
  });
  return best;
}

/**
 * What holds in each section, of one kind. Of the cues that hold, the one that begins last counts.
 *
 * @param {Cue[]} cues of that kind
 * @param {Kind} kind
 * @param {Grid} grid
 * @returns {(Held | null)[]} by section
 */
export function settle(cues, kind, grid) {
  const placed = cues
    .flatMap((cue, order) => places(cue, grid).map((place) => ({ ...place, cue, rank: [...place.rank, order] })))
    .sort((one, other) => compare(one.rank, other.rank));
  return grid.starts.map((_, section) => {
    const holding = placed.filter((each) => each.first <= section && section < each.until && seedHolds(each, section, kind));
    const last = holding.at(-1);
    if (!last) return null;
    const value = kind === "seed" ? last.cue.seed + last.step + section - last.first : last.cue[kind];
    return { value, from: last.first, until: last.until, isBounded: last.isBounded };
  });
}

/** Without an end a seed is for its first section only: the same noise again would show. */
function seedHolds(place, section, kind) {
  return kind !== "seed" || place.isBounded || place.first === section;
}

function compare(one, other) {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at < 0 ? 0 : one[at] - other[at];
}

/**
 * The cues with another value in a section; one that begins there is replaced and keeps its end.
 *
 * @param {Cue[]} cues of one kind
 * @param {Kind} kind
 * @param {number} section
 * @param {any} value undefined takes it away
 * @param {Grid} grid
 * @param {number | null} [until] where it ends; null for the next change, absent as before
 * @returns {Cue[]}
 */
export function withValue(cues, kind, section, value, grid, until) {
  const before = settle(cues, kind, grid)[section];
  const kept = cues.flatMap((cue) => without(cue, section, grid));
  if (value === undefined || value === "") return kept;
  const end = until === undefined ? (before?.from === section && before.isBounded ? before.until : null) : until;
  const own = { section, [kind]: value, ...(end === null ? {} : { until_section: end }) };
  return [...kept, own].sort((one, other) => (places(one, grid)[0]?.first ?? 0) - (places(other, grid)[0]?.first ?? 0));
}

/** What is left of a cue when it is not to begin in a section. */
function without(cue, section, grid) {
  const where = places(cue, grid);
  if (!where.some((place) => place.first === section)) return [cue];
  if (!cue.every) return [];
  const { every, ...content } = cue;
  return where
    .filter((place) => place.first !== section)
    .map((place) => ({ section: place.first, until_section: place.until, ...content, ...(cue.seed === undefined ? {} : { seed: cue.seed + place.step }) }));
}

/** Cues that lie outside of the video. @param {Cue[]} cues @param {Grid} grid */
export function outside(cues, grid) {
  return cues.filter((cue) => places(cue, grid).length === 0);
}

/** The whole text of a section. @param {string} prompt @param {string | undefined} own @param {string} mode */
export function fullText(prompt, own, mode) {
  if (!own) return prompt;
  return mode === "replace" ? own : `${prompt} ${own}`.trim();
}
