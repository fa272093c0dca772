/** All other settings, in the schema's groups, with a search and marks for what was changed. */

import { api } from "../lib/api.js";
import { confirm } from "../lib/dialog.js";
import { draft } from "../lib/draft.js";
import { h, icon, on, replace, uniqueId } from "../lib/dom.js";
import { fieldHelp, fieldTitle, t, tn, tOr } from "../lib/i18n.js";
import { suggest } from "../forms/inputs.js";

/** What the timeline edits. */
const ELSEWHERE = new Set(["section_prompts", "section_images", "section_seeds"]);

/**
 * Draw the groups, with the fields that the page does not have yet.
 *
 * @param {HTMLElement} place
 * @param {{found: any, fields: ReturnType<import("./field_set.js").fieldSet>}} given
 * @returns {() => void} ends it
 */
export function groups(place, { found, fields }) {
  const rest = [...found.fields, ...found.options].filter((field) => isOfGroups(field, fields));
  const sections = found.groups
    .map((group) => section(group, rest.filter((field) => field.group === group.id), fields))
    .filter((each) => each.names.length);
  const inView = [...found.fields, ...found.options].filter((field) => fields.hasControl(field.name) && !rest.includes(field));
  const search = searchBox(sections, inView, fields);
  const reset = h("button", { class: "button small quiet", type: "button" }, icon("retry"), t("create.reset_all"));
  reset.addEventListener("click", () => resetAll(found));
  replace(
    place,
    h("div", { class: "row apart create-more-head" }, h("h2", null, t("create.more")), h("div", { class: "row" }, search.element, reset)),
    search.hits,
    h("div", { class: "create-groups" }, sections.map((each) => each.element)),
  );
  const show = () => {
    for (const each of sections) each.mark();
    reset.disabled = Object.keys(settingsOf(draft.request.value, found)).length === 0;
  };
  const offs = [draft.request.subscribe(show, { now: true }), draft.options.subscribe(show)];
  return () => offs.forEach((off) => off());
}

function isOfGroups(field, fields) {
  const isSubject = ["styles", "model"].includes(field.name);
  return !fields.hasControl(field.name) && !isSubject && !ELSEWHERE.has(field.name);
}

/** One group: closed, with the names of what is in it and a count of what was changed. */
function section(group, members, fields) {
  const names = members.map((field) => field.name);
  const badge = h("span", { class: "badge accent", hidden: true });
  const hint = h("span", { class: "create-group-hint" }, members.length > 1 && members.map(fieldTitle).join(", "));
  const body = h("div", { class: "create-group-fields" });
  const element = h(
    "details",
    { class: "create-group card", dataset: { group: group.id } },
    h("summary", null, h("span", { class: "create-group-title" }, tOr(`fields.group.${group.id}`, group.title), badge), hint),
    body,
  );
  const made = members.map((field) => fields.make(field.name, { rows: 2 }));
  replace(body, made.map((each) => each.element));
  element.addEventListener("toggle", () => element.open && suggestCodecs(fields, group.id), { once: true });
  return {
    element,
    names,
    members,
    mark: () => {
      const count = names.filter((name) => fields.value(name) !== undefined).length;
      badge.hidden = count === 0;
      badge.textContent = tn("create.changed", count);
    },
  };
}

/** The encoders of the server, once somebody looks for one. */
async function suggestCodecs(fields, group) {
  const codec = fields.get("codec");
  if (group !== fields.field("codec").group || !codec) return;
  try {
    const { data } = await api.get("/codecs");
    suggest(/** @type {HTMLInputElement} */ (codec.target), data.map((each) => each.name ?? each.id));
  } catch (error) {
    console.warn("the encoders could not be listed:", error.message);
  }
}

/** Fields of a request that are settings, not what the video shows. */
function settingsOf(request, found) {
  const subject = new Set(["prompt", "negative_prompt", "image", "end_image", "extend", "video", ...ELSEWHERE]);
  const names = new Set(found.fields.map((field) => field.name));
  return Object.fromEntries(Object.entries(request).filter(([name]) => names.has(name) && !subject.has(name)));
}

async function resetAll(found) {
  const count = Object.keys(settingsOf(draft.request.value, found)).length;
  const text = tn("create.reset_all.text", count);
  if (!(await confirm({ title: t("create.reset_all"), text, action: t("create.reset_all.action") }))) return;
  const settings = settingsOf(draft.request.value, found);
  draft.options.value = {};
  draft.request.value = Object.fromEntries(Object.entries(draft.request.value).filter(([name]) => !(name in settings)));
}

/** A box that leaves only the fields in which some words occur. */
function searchBox(sections, inView, fields) {
  const id = uniqueId("search");
  const input = h("input", { id, type: "search", placeholder: t("create.search"), autocomplete: "off" });
  const status = h("span", { class: "visually-hidden", role: "status" });
  const hits = h("div", { class: "row create-hits", hidden: true });
  const wasOpen = new Map(sections.map((each) => [each, false]));
  let isSearching = false;
  const find = () => {
    const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !isSearching) for (const each of sections) wasOpen.set(each, each.element.open);
    isSearching = words.length > 0;
    let count = 0;
    for (const each of sections) {
      const matching = each.members.filter((field) => matches(field, words));
      for (const field of each.members) fields.get(field.name).element.hidden = !matching.includes(field);
      each.element.hidden = matching.length === 0;
      each.element.open = isSearching ? matching.length > 0 : wasOpen.get(each);
      count += matching.length;
    }
    const seen = isSearching ? inView.filter((field) => matches(field, words)) : [];
    showHits(hits, seen, fields, isSearching && count + seen.length === 0);
    status.textContent = isSearching ? tn("create.search.found", count + seen.length) : "";
  };
  on(input, "input", find);
  on(input, "keydown", (event) => {
    if (event.key !== "Escape" || !input.value) return;
    event.preventDefault();
    input.value = "";
    find();
  });
  const element = h("div", { class: "create-search" }, h("label", { for: id, class: "visually-hidden" }, t("create.search")), icon("search"), input, status);
  return { element, hits };
}

/** Ways to those found that are in view already. */
function showHits(hits, found, fields, isNothing) {
  hits.hidden = found.length === 0 && !isNothing;
  const way = (field) => h("button", { class: "button small", type: "button", onclick: () => fields.get(field.name).focus() }, fieldTitle(field));
  replace(
    hits,
    isNothing ? h("span", { class: "muted" }, t("create.search.nothing")) : h("span", { class: "muted" }, t("create.search.in_view")),
    found.map(way),
  );
}

function matches(field, words) {
  const text = [field.name, fieldTitle(field), fieldHelp(field), field.title, field.option].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}
