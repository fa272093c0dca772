/** The gallery: videos that were made, newest first. */

import { h, replace } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { announce } from "../lib/notify.js";
import { debounce } from "../lib/state.js";
import { keyed } from "../queue/keyed.js";
import { card, stackCard } from "./card.js";
import { choose, labelled } from "./field.js";
import { selection } from "./selection.js";
import { STATES, videoStore } from "./store.js";

const SEARCH_MS = 250;
const FEWEST_TILES = 12;
const MOST_READS = 4; // that follow by themselves
const ANY = "any";

/** @param {HTMLElement} root */
export async function show(root) {
  const grid = h("div", { class: "gallery-grid" });
  const foot = h("div", { class: "gallery-foot" });
  let shown = [];
  let last = [[], false];
  const chosen = selection(() => shown, () => redraw());
  const tiles = keyed(grid, (tile) => tile.key, (tile) => (tile.stack ? stackTile(tile) : videoTile(tile, chosen)));
  const groups = groupFilter((group) => store.want({ group }));

  const redraw = () => {
    const [videos, hasMore] = last;
    const isSearch = Boolean(store.wanted.search) || store.wanted.group !== null;
    const all = tilesOf(videos, isSearch);
    shown = all.flatMap((tile) => (tile.stack ? [] : [tile.video]));
    chosen.keepOnly(videos);
    groups.add(videos);
    tiles.show(all);
    root.classList.toggle("gallery-choosing", !chosen.element.hidden);
    drawFoot(foot, all.length, hasMore, store);
    return all.length;
  };
  let reads = 0;
  const store = videoStore((videos, hasMore) => {
    last = [videos, hasMore];
    const isShort = redraw() < FEWEST_TILES; // a page may be one stack
    reads = hasMore && isShort ? reads + 1 : 0;
    if (reads && reads <= MOST_READS) store.more();
  });
  replace(root, head(store, groups), grid, foot, chosen.element);
  await store.want({});
  return () => {
    store.close();
    tiles.clear();
  };
}

function head(store, groups) {
  const find = debounce(async (text) => {
    await store.want({ search: text.trim() });
  }, SEARCH_MS);
  const search = labelled(t("gallery.search"), h("input", { type: "search", placeholder: t("gallery.search_hint"), oninput: (event) => find(event.target.value) }));
  const states = Object.keys(STATES).map((name) => [name, t(`gallery.filter.${name}`)]);
  const state = labelled(t("gallery.state"), choose(states, "made", (name) => store.want({ state: name })));
  search.element.classList.add("gallery-search");
  return h(
    "div",
    { class: "gallery-head" },
    h("h1", null, t("gallery.title")),
    h("div", { class: "gallery-filters", role: "search" }, search.element, state.element, groups.element),
  );
}

/** A select of the groups that were seen. */
function groupFilter(onChange) {
  const seen = new Set();
  const select = choose([[ANY, t("gallery.any_group")]], ANY, (value) => onChange(value === ANY ? null : value));
  const field = labelled(t("gallery.group"), select);
  field.element.hidden = true;
  const add = (videos) => {
    for (const { group } of videos) {
      if (!group || seen.has(group)) continue;
      if (!seen.size) select.append(h("option", { value: "" }, t("gallery.no_group")));
      seen.add(group);
      select.append(h("option", { value: group }, group));
      field.element.hidden = false;
    }
  };
  return { element: field.element, add };
}

/** Videos as tiles; those of a group are one, where the newest of them stands. */
function tilesOf(videos, isFlat) {
  const tiles = [];
  const stacks = new Map();
  for (const video of videos) {
    const stack = isFlat ? undefined : stacks.get(video.group);
    if (stack) stack.videos.push(video);
    else if (video.group && !isFlat) {
      const made = { group: video.group, videos: [video] };
      stacks.set(video.group, made);
      tiles.push({ key: `group ${video.group}`, stack: made });
    } else tiles.push({ key: video.id, video });
  }
  return tiles;
}

function videoTile(tile, chosen) {
  const row = card(tile.video, chosen);
  return { ...row, update: (next) => row.update(next.video) };
}

function stackTile(tile) {
  const row = stackCard(tile.stack);
  return { ...row, update: (next) => row.update(next.stack) };
}

function drawFoot(foot, count, hasMore, store) {
  const { search, state, group } = store.wanted;
  const isFiltered = search || state !== "made" || group !== null;
  if (count === 0 && !hasMore) {
    const empty = isFiltered
      ? [h("p", null, t("gallery.nothing_found"))]
      : [h("h2", null, t("gallery.empty")), h("p", null, t("gallery.empty_help")), h("a", { class: "button primary", href: "#/create" }, t("gallery.create"))];
    replace(foot, h("div", { class: "empty" }, empty));
  } else {
    const more = async () => {
      await store.more();
      foot.querySelector("button")?.focus();
    };
    replace(foot, hasMore && h("button", { class: "button", type: "button", onclick: more }, t("gallery.more")));
  }
  if (isFiltered) announce(tn("gallery.found", count));
}
