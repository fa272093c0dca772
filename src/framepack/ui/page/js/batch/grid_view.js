/** A grid as a table: columns, rows, and a tab for each value of the third axis. */

import { h, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { keyed } from "../queue/keyed.js";
import { preview } from "../queue/running.js";
import { nameOf, stateBadge } from "../gallery/facts.js";
import { picture, playOnHover } from "../gallery/picture.js";

/**
 * @param {() => void} onOther called when other cells are shown
 * @returns {{element: HTMLElement, show: (grid: import("./grid_model.js").Grid) => void, cells: () => Iterable<any>}}
 */
export function gridView(onOther) {
  const panel = h("div", { class: "batch-panel" });
  const tabs = tabStrip(panel, (value) => {
    chosen = value;
    structure = "";
    show(grid);
  });
  let grid = /** @type {any} */ (null);
  let chosen = /** @type {string | undefined} */ (undefined);
  let structure = "";
  let fill = (_grid) => {};
  /** @type {Map<string, any>} */
  let cells = new Map();
  const show = (next) => {
    grid = next;
    if (next.z && !next.z.values.includes(chosen)) chosen = next.z.values[0];
    if (!next.z) chosen = undefined;
    tabs.show(next.z, chosen);
    const shape = JSON.stringify([next.x, next.y, next.z, chosen]);
    if (shape !== structure) {
      structure = shape;
      cells = new Map();
      fill = next.x ? table(panel, next, chosen, cells) : list(panel, cells);
      onOther();
    }
    fill(next);
  };
  return { element: h("div", null, tabs.element, panel), show, cells: () => cells.values() };
}

/** Tabs: one stop of the keyboard, arrows go on from it. */
function tabStrip(panel, onChoose) {
  const element = h("div", { class: "batch-tabs", role: "tablist", hidden: true });
  panel.id = uniqueId("grid");
  let values = [];
  const choose = (value) => {
    onChoose(value);
    element.querySelector("[aria-selected=true]")?.focus();
  };
  element.addEventListener("keydown", (event) => {
    const at = values.findIndex((value) => value === event.target.dataset.value);
    const last = values.length - 1;
    const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at > 0 ? at - 1 : last, Home: 0, End: last }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    choose(values[next]);
  });
  const show = (axis, chosen) => {
    element.hidden = !axis;
    values = axis?.values ?? [];
    if (axis) {
      element.setAttribute("aria-label", axis.title);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-label", `${axis.title}: ${chosen}`);
    }
    const tab = (value) => {
      const isChosen = value === chosen;
      return h("button", { class: "button", type: "button", role: "tab", dataset: { value }, tabIndex: isChosen ? 0 : -1, "aria-selected": String(isChosen), "aria-controls": panel.id, onclick: () => choose(value) }, `${axis.title}: ${value}`);
    };
    const known = [...element.children].map((each) => [each.dataset.value, each.getAttribute("aria-selected")]).join();
    if (known !== values.map((value) => [value, String(value === chosen)]).join()) replace(element, values.map(tab));
  };
  return { element, show };
}

/** Rows and columns; returns what fills the cells. */
function table(panel, { x, y }, z, cells) {
  const places = [];
  const rows = y.values.map((row) => {
    const cols = x.values.map((column) => {
      const place = h("td", null, h("span", { class: "muted" }, t("batch.no_cell")));
      places.push({ place, at: [column, row, z] });
      return place;
    });
    return h("tr", null, h("th", { scope: "row" }, row), cols);
  });
  const caption = h("caption", { class: "visually-hidden" }, t("batch.table", { x: x.title, y: y.title }));
  const corner = h("td", { class: "batch-corner muted" }, h("span", null, `${x.title} →`), h("span", null, `${y.title} ↓`));
  const heads = h("tr", null, corner, x.values.map((value) => h("th", { scope: "col" }, value)));
  replace(panel, h("div", { class: "table-scroll batch-table", role: "region", tabIndex: 0, "aria-label": t("batch.table", { x: x.title, y: y.title }) }, h("table", null, caption, h("thead", null, heads), h("tbody", null, rows))));
  return (grid) => {
    for (const { place, at } of places) {
      const video = grid.cell(...at);
      const known = cells.get(at.join());
      if (video && known?.id === video.id) known.update(video);
      else if (video) {
        const made = cell(video, false);
        cells.set(at.join(), made);
        replace(place, made.element);
      } else if (known) {
        cells.delete(at.join());
        replace(place, h("span", { class: "muted" }, t("batch.no_cell")));
      }
    }
  };
}

/** Videos that form no grid: one after the other, each with its label. */
function list(panel, cells) {
  const element = h("div", { class: "batch-list" });
  replace(panel, element);
  const rows = keyed(element, (video) => video.id, (video) => {
    const made = cell(video, true);
    cells.set(video.id, made);
    return { ...made, remove: () => cells.delete(video.id) };
  });
  return (grid) => rows.show(grid.videos);
}

/** One video: what is there of it, and how far it is. */
function cell(video, withLabel) {
  const shown = picture(video);
  const working = preview(video);
  const bar = h("progress", { max: 1, value: 0 });
  const state = h("span", { class: "batch-cell-state" });
  const element = h("a", { class: "batch-cell", href: `#/video/${video.id}` }, shown.element, state, withLabel && h("span", { class: "batch-cell-label" }, video.label || nameOf(video)));
  const made = { id: video.id, video, element, picture: shown.element, update };
  let drawn = null;
  function update(next) {
    if (next === drawn) return; // no news of this one
    drawn = next;
    made.video = next;
    const isRunning = next.state === "running";
    element.classList.toggle("is-waiting", next.state === "queued" || next.state === "paused");
    shown.update(next);
    shown.element.style.aspectRatio = next.size.replace("x", " / ");
    working.update(next);
    if (isRunning) shown.element.append(working.element);
    else working.element.remove();
    bar.value = next.progress_detail.fraction;
    bar.setAttribute("aria-label", t("batch.cell_progress", { name: nameOf(next) }));
    element.setAttribute("aria-label", t("batch.cell", { name: nameOf(next), state: t(`gallery.state.${next.state}`) }));
    element.title = next.error?.message ?? "";
    replace(state, next.state === "completed" ? null : isRunning ? bar : stateBadge(next));
  }
  update(video);
  playOnHover(element, shown);
  return made;
}
