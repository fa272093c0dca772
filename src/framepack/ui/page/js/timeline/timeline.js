/**
 * The timeline: the video as a strip of sections. With a draft its sections can be edited; with a
 * video its cells fill as they are rendered.
 */

import { h, icon, replace } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { notify } from "../lib/notify.js";
import { fileAddress } from "../forms/uploads.js";
import { FIELDS, outside, withValue } from "./cues.js";
import { sectionEditor } from "./editor.js";
import { makeModel } from "./model.js";
import { follow } from "./progress.js";
import { Strip } from "./strip.js";

/**
 * Draw a timeline, and keep it as things change.
 *
 * @param {HTMLElement} element that it fills
 * @param {object} options
 * @param {{value: {state: string, answer: any, error: any}, subscribe: Function}} options.plan
 *   signal with the newest answer of `/v1/videos/plan`, as lib/plan.js has it
 * @param {typeof import("../lib/draft.js").draft} [options.draft] what is edited; without one
 *   cells only open
 * @param {{value: any, subscribe: Function} | any} [options.video] a VideoObject, or a signal of
 *   one or null: the cells show how far it is
 * @param {(index: number) => void} [options.onSection] without a draft: a cell was opened
 * @param {(value: string, cell: any) => string | null} [options.pictureOf] without a draft: where
 *   pictures of the request are
 * @param {{value: number | null, subscribe: Function}} [options.clock] where the video plays, seconds
 * @returns {() => void} ends it
 */
export function timeline(element, { plan, draft, video, onSection, pictureOf, clock }) {
  const shown = new Timeline(element, { plan, draft, onSection, pictureOf });
  const offs = [plan.subscribe(() => shown.draw())];
  if (draft) offs.push(draft.request.subscribe(() => shown.draw()), draft.files.subscribe(() => shown.draw()));
  const videos = video && typeof video.subscribe === "function" ? video : { value: video ?? null, subscribe: () => () => {} };
  offs.push(videos.subscribe((next) => shown.watch(next)));
  if (clock) offs.push(clock.subscribe((seconds) => shown.strip.playAt(seconds)));
  shown.watch(videos.value);
  return () => {
    offs.forEach((off) => off());
    shown.end();
  };
}

class Timeline {
  constructor(element, { plan, draft, onSection, pictureOf }) {
    Object.assign(this, { plan, draft, onSection });
    this.pictureOf = pictureOf ?? ((value) => this.draftPicture(value));
    this.video = null;
    this.followed = null;
    this.model = null;
    this.editor = null;
    this.summary = h("p", { class: "timeline-summary muted" });
    this.note = h("div", { class: "note warn timeline-note", role: "status", hidden: true });
    this.stripPlace = h("div");
    this.editorPlace = h("div", { class: "timeline-editor-place" });
    this.strip = new Strip(this.stripPlace, {
      onOpen: (index) => this.open(index),
      onClear: draft ? (index) => this.clear(index) : null,
      pictureOf: (value, cell) => this.pictureOf(value, cell),
    });
    const help = h("p", { class: "field-help timeline-keys" }, t(draft ? "timeline.keys_edit" : "timeline.keys"));
    this.root = h("div", { class: "timeline" }, this.summary, this.note, this.stripPlace, help, this.editorPlace);
    replace(element, this.root);
    this.draw();
  }

  /** Show how far a video is. @param {any} video a VideoObject or null */
  watch(video) {
    if (video?.id !== this.video?.id) {
      this.followed?.close();
      this.offProgress?.();
      this.followed = video ? follow(video.id) : null;
      this.offProgress = this.followed?.progress.subscribe(() => this.draw());
    }
    this.video = video;
    this.draw();
  }

  draw() {
    const answer = this.plan.value.answer;
    const isThere = Boolean(answer?.plan?.sections?.length) && !answer.plan.request?.one_frame;
    this.root.classList.toggle("is-empty", !isThere);
    this.stripPlace.hidden = !isThere;
    if (!isThere) {
      this.summary.textContent = t(answer?.plan?.request?.one_frame ? "timeline.one_frame" : "timeline.nothing");
      return;
    }
    this.model = makeModel(answer.plan, this.draft ? this.draft.request.value : answer.plan.request);
    this.strip.draw(this.model, this.progressing());
    this.describe();
    this.warn();
    if (this.editor && this.editor.index >= this.model.cells.length) this.close();
    this.editor?.update(this.model);
  }

  /** How far the video is, if its sections are those that are shown. */
  progressing() {
    const { video, followed, model } = this;
    if (!video || !followed) return null;
    const progress = followed.progress.value;
    const isOther = progress.plan && progress.plan.sections.length !== model.cells.length;
    return isOther ? null : { id: video.id, state: video.state, progress };
  }

  describe() {
    const { cells, isInverted, duration: length } = this.model;
    const order = isInverted ? "timeline.from_end" : "timeline.from_start";
    replace(
      this.summary,
      h("span", null, `${tn("timeline.count", cells.length)} · ${duration(length)}`),
      cells.length > 1 && h("span", { class: "timeline-direction" }, isInverted && icon("left"), t(order), !isInverted && icon("right")),
    );
  }

  /** Say what the video has no place for, and offer to take it away. */
  warn() {
    const { numOutside } = this.model;
    this.note.hidden = !this.draft || numOutside === 0;
    if (this.note.hidden || this.note.dataset.count === String(numOutside)) return;
    this.note.dataset.count = String(numOutside);
    const remove = () => {
      const { cues, grid } = this.model;
      this.commit(Object.fromEntries(Object.entries(cues).map(([name, list]) => [name, list.filter((cue) => !outside([cue], grid).length)])));
    };
    replace(this.note, h("div", { class: "row apart" }, h("span", null, tn("timeline.outside", numOutside)), h("button", { class: "button small", type: "button", onclick: remove }, t("timeline.remove_outside"))));
  }

  open(index) {
    const cell = this.model.cells[index];
    if (cell.section < 0) return;
    if (!this.draft) {
      this.onSection?.(index);
      return;
    }
    this.strip.open(index);
    const editor = sectionEditor(this.model, index, {
      set: (kind, value, until) => this.set(index, kind, value, until),
      setField: (name, value) => this.draft.set(name, value),
      pictureOf: (value) => this.pictureOf(value),
      clear: () => this.clear(index),
      goTo: (next) => {
        this.strip.move(next);
        this.open(next);
      },
      close: () => this.close(),
    });
    this.editor = { ...editor, index };
    replace(this.editorPlace, editor.element);
    editor.focus();
  }

  close() {
    const { index } = this.editor;
    this.editor = null;
    replace(this.editorPlace);
    this.strip.open(-1);
    this.strip.move(Math.min(index, this.model.cells.length - 1));
  }

  /** Change what a section says; the other cues become objects of the API's form. */
  set(index, kind, value, until) {
    const { cues, grid, cells } = this.model;
    const name = FIELDS[kind];
    this.commit({ ...cues, [name]: withValue(cues[name], kind, cells[index].section, value, grid, until) });
  }

  clear(index) {
    const cell = this.model.cells[index];
    if (cell.section < 0) return;
    const before = this.draft.request.value;
    const { grid } = this.model;
    const kinds = Object.keys(FIELDS).filter((kind) => cell[kind]?.from === cell.section);
    if (!kinds.length) return;
    const next = { ...this.model.cues };
    for (const kind of kinds) next[FIELDS[kind]] = withValue(next[FIELDS[kind]], kind, cell.section, undefined, grid);
    this.commit(next);
    const undo = { label: t("shell.undo"), run: () => { this.draft.request.value = before; } };
    notify.info(t("timeline.cleared", { n: cell.section }), { action: undo });
  }

  commit(cues) {
    const request = { ...this.draft.request.value };
    for (const [name, list] of Object.entries(cues)) {
      if (list.length) request[name] = list;
      else delete request[name];
    }
    this.draft.request.value = request;
  }

  /** The picture of a field, or of an upload. */
  draftPicture(value) {
    const request = this.draft.request.value;
    const id = value === "image" || value === "end_image" ? request[value] : value;
    return id ? fileAddress(id) : null;
  }

  end() {
    this.offProgress?.();
    this.followed?.close();
    this.root.remove();
  }
}
