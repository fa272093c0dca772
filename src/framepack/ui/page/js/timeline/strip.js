/** The strip: a ruler, a cell for each section, and bars for what holds over several. */

import { address } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { stretches } from "./model.js";

const MIN_PX = 132;

/** "1st", "2nd": the order of rendering. @param {number} turn */
export function ordinal(turn) {
  const form = new Intl.PluralRules(language, { type: "ordinal" }).select(turn);
  return t(`timeline.ordinal.${form}`, { n: turn });
}

/** "0:01.2–0:02.4". @param {{start: number, end: number}} cell */
export function span(cell) {
  return `${clock(cell.start)}–${clock(cell.end)}`;
}

/**
 * @typedef {object} Handlers
 * @property {(index: number) => void} onOpen a cell was clicked, or Enter pressed on it
 * @property {((index: number) => void) | null} onClear Delete was pressed on it
 * @property {(id: string) => string | null} pictureOf address of an upload's picture
 *
 * @typedef {object} Progressing
 * @property {string} id of the video
 * @property {string} state of the video
 * @property {import("./progress.js").Progress} progress
 */

/** A strip that is drawn again and again in the same element, and keeps its focus. */
export class Strip {
  /** @param {HTMLElement} element @param {Handlers} handlers */
  constructor(element, handlers) {
    this.handlers = handlers;
    this.current = 0;
    this.opened = -1;
    /** @type {HTMLElement[]} */
    this.cells = [];
    this.ruler = h("div", { class: "timeline-ruler", "aria-hidden": "true" });
    this.list = h("div", { class: "timeline-cells", role: "listbox", "aria-orientation": "horizontal", "aria-label": t("timeline.sections") });
    this.lanes = h("div", { class: "timeline-lanes", "aria-hidden": "true" });
    this.head = h("div", { class: "timeline-head", "aria-hidden": "true", hidden: true });
    this.grid = h("div", { class: "timeline-grid" }, this.ruler, this.list, this.lanes, this.head);
    this.scroller = h("div", { class: "timeline-scroll" }, this.grid);
    this.list.addEventListener("keydown", (event) => this.press(event));
    element.append(this.scroller);
  }

  /** @param {import("./model.js").Model} model @param {Progressing | null} progressing */
  draw(model, progressing) {
    const { cells } = model;
    this.model = model;
    this.grid.style.gridTemplateColumns = cells.map((cell) => `minmax(${MIN_PX}px, ${cell.frames}fr)`).join(" ");
    if (this.cells.length !== cells.length) this.makeCells(cells.length);
    this.current = Math.min(this.current, cells.length - 1);
    cells.forEach((cell, index) => this.drawCell(this.cells[index], cell, progressing));
    this.drawRuler(model);
    this.drawLanes(model);
    this.mark();
  }

  makeCells(count) {
    this.cells = Array.from({ length: count }, (_, index) => {
      const open = () => {
        this.move(index);
        this.handlers.onOpen(index);
      };
      // Screen readers put the focus on cells by themselves.
      const stand = () => {
        this.current = index;
        this.mark();
      };
      return h("div", { class: "timeline-cell", role: "option", dataset: { index }, onclick: open, onfocus: stand });
    });
    replace(this.list, this.cells);
  }

  /** One cell: only what changed is built again, so that moving pictures keep moving. */
  drawCell(element, cell, progressing) {
    const state = stateOf(cell, progressing);
    const picture = this.pictureOf(cell, state, progressing);
    const key = JSON.stringify([cell.start, cell.end, cell.turn, cell.prompt, cell.image, cell.seed, cell.text, state, picture]);
    if (element.dataset.key === key) return;
    element.dataset.key = key;
    element.setAttribute("aria-label", spoken(cell, state));
    element.className = `timeline-cell is-${state.state}`;
    const frame = element.querySelector(".timeline-picture");
    const shown = frame?.dataset.src === (picture?.src ?? "") ? frame : pictureFrame(picture);
    shown.classList.toggle("is-faint", Boolean(picture?.isFaint));
    replace(element, head(cell), shown, stepBar(state), text(cell), foot(cell, state));
  }

  /** What a cell shows: its frames where there are any, else the picture it is made from. */
  pictureOf(cell, state, progressing) {
    if (progressing && (state.state === "done" || state.state === "finished")) {
      if (cell.isTrimmed && state.version === 1 && state.state === "done") return null;
      return { src: address(`/videos/${progressing.id}/sections/${cell.index}/picture`, { v: state.version }), kind: "rendered" };
    }
    if (progressing && state.state === "rendering" && progressing.progress.previewed === cell.index) {
      return { src: address(`/videos/${progressing.id}/preview`, { v: progressing.progress.preview }), kind: "preview" };
    }
    const upload = (value) => this.handlers.pictureOf(value, cell);
    if (cell.image) {
      const src = upload(cell.image.value);
      return { src, kind: "section", isFaint: cell.image.from !== cell.section };
    }
    if (cell.anchor) return { src: upload(cell.anchor), kind: cell.anchor };
    return null;
  }

  /** Show where a video plays. @param {number | null} seconds null for nowhere */
  playAt(seconds) {
    const cells = this.model?.cells ?? [];
    const cell = seconds === null ? undefined : cells.find((each) => seconds >= each.start && seconds < each.end);
    this.head.hidden = !cell;
    if (!cell) return;
    const { offsetLeft, offsetWidth } = this.cells[cell.index];
    const share = (seconds - cell.start) / (cell.end - cell.start);
    this.head.style.transform = `translateX(${Math.round(offsetLeft + share * offsetWidth)}px)`;
  }

  drawRuler({ cells, duration }) {
    const marks = cells.map((cell) => {
      const mark = h("span", { class: "timeline-mark" }, clock(cell.start));
      mark.style.gridColumn = String(cell.index + 1);
      return mark;
    });
    marks.at(-1).append(h("span", { class: "timeline-end" }, clock(duration)));
    replace(this.ruler, marks);
  }

  drawLanes({ cells }) {
    const lane = (kind) =>
      stretches(cells, kind).map(({ first, until, value }) => {
        const bar = h("div", { class: `timeline-bar is-${kind}` }, icon(kind === "prompt" ? "edit" : "image"), kind === "prompt" && h("span", null, value));
        bar.style.gridColumn = `${first + 1} / ${until + 1}`;
        bar.style.gridRow = kind === "prompt" ? "1" : "2";
        return bar;
      });
    replace(this.lanes, lane("prompt"), lane("image"));
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity, PageDown: 5, PageUp: -5 };
    if (event.key in steps) this.move(Math.min(Math.max(this.current + steps[event.key], 0), this.cells.length - 1));
    else if (event.key === "Enter" || event.key === " ") this.handlers.onOpen(this.current);
    else if (event.key === "Delete" || event.key === "Backspace") this.handlers.onClear?.(this.current);
    else return;
    event.preventDefault();
  }

  /** Make a cell the one that Tab comes to, and go there. @param {number} index */
  move(index) {
    this.current = index;
    this.mark();
    this.cells[index]?.focus({ preventScroll: true });
    this.cells[index]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** @param {number} index of the cell whose editor is open, -1 for none */
  open(index) {
    this.opened = index;
    this.mark();
  }

  mark() {
    this.cells.forEach((cell, index) => {
      cell.tabIndex = index === this.current ? 0 : -1;
      cell.setAttribute("aria-selected", String(index === this.opened));
    });
  }
}

function stateOf(cell, progressing) {
  if (!progressing) return { state: "idle", step: 0, numSteps: 0, version: 0 };
  const { progress, state } = progressing;
  const own = progress.sections[cell.index];
  if (state === "completed") return { state: "finished", step: 0, numSteps: 0, version: versionOf(cell, progress) };
  if (own?.state === "done") return { state: "done", step: 0, numSteps: 0, version: versionOf(cell, progress) };
  const isNow = state === "running" && progress.current === cell.index;
  if (isNow) return { state: "rendering", step: own?.step ?? 0, numSteps: own?.numSteps ?? 0, version: 0 };
  return { state: "waiting", step: 0, numSteps: 0, version: 0 };
}

/** A section's frames change once more, when the next one is blended with them. */
function versionOf(cell, progress) {
  return Math.min(Math.max(progress.numDone - cell.turn + 1, 1), 2);
}

function head(cell) {
  return h(
    "div",
    { class: "timeline-cell-head" },
    h("span", { class: "timeline-number" }, cell.section < 0 ? "·" : cell.section),
    h("span", { class: "timeline-order" }, ordinal(cell.turn)),
  );
}

function pictureFrame(picture) {
  const frame = h("div", { class: "timeline-picture", dataset: { src: picture?.src ?? "" } });
  if (picture?.src) {
    const image = h("img", { src: picture.src, alt: "", draggable: false });
    image.addEventListener("error", () => replace(frame, icon("image")));
    frame.append(image);
  } else frame.append(icon(picture ? "image" : "video"));
  if (picture && picture.kind !== "rendered" && picture.kind !== "preview") {
    frame.append(h("span", { class: "timeline-picture-kind" }, t(`timeline.picture.${picture.kind}`)));
  }
  return frame;
}

function stepBar({ state, step, numSteps }) {
  if (state !== "rendering") return null;
  const bar = h("div", { class: "timeline-steps" }, h("div"));
  bar.firstChild.style.width = `${numSteps ? (step / numSteps) * 100 : 0}%`;
  return bar;
}

function text(cell) {
  if (cell.section < 0) return h("p", { class: "timeline-text is-faint" }, t("timeline.given"));
  const { prompt } = cell;
  if (!prompt?.value) return h("p", { class: "timeline-text is-faint" }, cell.text || t("timeline.no_prompt"));
  const isOwn = prompt.from === cell.section;
  const words = isOwn ? prompt.value : [icon("left"), " ", prompt.value];
  return h("p", { class: `timeline-text ${isOwn ? "is-own" : "is-faint"}` }, words);
}

function foot(cell, { state, step, numSteps }) {
  const words = {
    rendering: numSteps ? t("timeline.state.step", { step, steps: numSteps }) : t("timeline.state.rendering"),
    done: t("timeline.state.done"),
    waiting: t("timeline.state.waiting"),
  }[state];
  return h(
    "div",
    { class: "timeline-cell-foot" },
    words && h("span", { class: "timeline-state" }, state === "done" && icon("check"), words),
    cell.seed && h("span", { class: "timeline-seed", title: t("timeline.seed_is", { seed: cell.seed.value }) }, icon("dice"), cell.seed.value),
  );
}

/** What a screen reader says of a cell. */
function spoken(cell, { state, step, numSteps }) {
  const said = [
    cell.section < 0 ? t("timeline.given") : t("timeline.section", { n: cell.section }),
    t("timeline.from_to", { from: clock(cell.start), to: clock(cell.end) }),
    t("timeline.rendered_as", { turn: ordinal(cell.turn) }),
  ];
  const { prompt, image, seed } = cell;
  if (prompt?.value) said.push(t(prompt.from === cell.section ? "timeline.prompt_own" : "timeline.prompt_from", { prompt: prompt.value, n: prompt.from }));
  else if (cell.text) said.push(t("timeline.prompt_video", { prompt: cell.text }));
  if (image) said.push(t(image.from === cell.section ? "timeline.image_own" : "timeline.image_from", { n: image.from }));
  if (cell.anchor) said.push(t(`timeline.anchor.${cell.index === 0 ? "image" : "end_image"}`));
  if (seed) said.push(t("timeline.seed_is", { seed: seed.value }));
  if (state === "rendering" && numSteps) said.push(t("timeline.state.step_long", { step, steps: numSteps }));
  else if (state !== "idle" && state !== "finished") said.push(t(`timeline.state.${state}`));
  return said.join(", ");
}
