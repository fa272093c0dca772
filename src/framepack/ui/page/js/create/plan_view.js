/** What would be made: length, size, time and memory, while one edits. */

import { h, icon, replace } from "../lib/dom.js";
import { duration, gb, number } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { plan } from "../lib/plan.js";

/**
 * Show the plan of the draft.
 *
 * @param {HTMLElement} place of the figures and of what is wrong
 * @param {HTMLElement} notesPlace of what else the server says
 * @param {{fields: ReturnType<import("./field_set.js").fieldSet>}} given
 * @returns {() => void} ends it
 */
export function planView(place, notesPlace, { fields }) {
  const figures = h("dl", { class: "create-figures" });
  const basis = h("p", { class: "field-help" });
  const notes = h("ul", { class: "create-notes-list", "aria-label": t("create.plan.notes") });
  const error = h("div", { class: "create-plan-error", role: "alert" });
  const summary = h("p", { class: "visually-hidden", role: "status" });
  replace(place, h("h2", null, t("create.plan")), error, figures, basis, summary);
  replace(notesPlace, notes);
  let told = "";
  return plan.subscribe(({ state, answer, error: wrong }) => {
    place.classList.toggle("is-stale", state === "planning" || state === "error");
    place.setAttribute("aria-busy", String(state === "planning"));
    if (state === "planning") return;
    const message = wrong ? wrong.message : "";
    if (message !== told) replace(error, wrong && problem(wrong, fields));
    told = message;
    if (!answer) return replace(figures, placeholder());
    replace(figures, facts(answer));
    basis.textContent = wrong ? "" : (answer.estimate?.basis ?? "");
    replace(notes, wrong ? [] : answer.notes.map((note) => h("li", null, icon("info"), h("span", null, note))));
    const said = spoken(answer);
    if (!wrong && summary.textContent !== said) summary.textContent = said;
    return undefined;
  }, { now: true });
}

function fact(name, value) {
  return h("div", null, h("dt", null, t(`create.plan.${name}`)), h("dd", null, value));
}

function placeholder() {
  return ["length", "frames", "sections", "size", "time", "memory"].map((name) => fact(name, "–"));
}

function facts(answer) {
  const estimate = answer.estimate ?? {};
  const { width, height } = answer.plan;
  return [
    fact("length", answer.plan.request.one_frame ? t("create.plan.one_picture") : `${number(trueSeconds(answer), 2)} s`),
    fact("frames", number(answer.num_frames)),
    fact("sections", number(answer.num_sections)),
    fact("size", `${width} × ${height}`),
    fact("time", estimate.seconds === null || estimate.seconds === undefined ? "–" : t("create.plan.about", { value: duration(estimate.seconds) })),
    fact("memory", memory(estimate)),
  ];
}

/** The device's memory; without a device the computer's. */
function memory(estimate) {
  return gb(estimate.device_memory_gb ?? estimate.host_memory_gb);
}

/** @param {any} answer of the plan @returns {number} */
function trueSeconds(answer) {
  return answer.num_frames / answer.fps;
}

function spoken(answer) {
  const { width, height } = answer.plan;
  return t("create.plan.spoken", {
    seconds: number(trueSeconds(answer), 2), sections: tn("create.plan.sections_count", answer.num_sections), width, height,
  });
}

/** What is wrong, with the way to the field. */
function problem(error, fields) {
  const made = error.param ? fields.get(error.param) : undefined;
  const show = () => {
    made.element.closest("details")?.setAttribute("open", "");
    made.focus();
  };
  return h(
    "div",
    { class: "note danger row" },
    icon("warning"),
    h("span", { class: "grow" }, error.message),
    made && h("button", { class: "button small", type: "button", onclick: show }, t("create.plan.show_field")),
  );
}
