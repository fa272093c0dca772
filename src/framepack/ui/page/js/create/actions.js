/** Generate and Draft: the page stays, so that one can go on editing and queue more. */

import { api } from "../lib/api.js";
import { h, icon, on, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { makeVideo } from "../lib/make.js";
import { announce } from "../lib/notify.js";
import { body, plan } from "../lib/plan.js";
import { allSent } from "../forms/uploads.js";
import { draftAndFinal } from "./drafting.js";
import { rememberLast } from "./presets.js";

const NAME_LENGTH = 60;

/**
 * Draw the buttons.
 *
 * @param {HTMLElement} place
 * @param {{fields: ReturnType<import("./field_set.js").fieldSet>, made: ReturnType<import("./jobs.js").jobs>}} given
 * @returns {() => void} ends it
 */
export function actions(place, { fields, made }) {
  const generate = h("button", { class: "button primary create-generate", type: "button", title: t("create.generate.title"), "aria-keyshortcuts": "Control+Enter" }, icon("play"), h("span", null, t("create.generate")));
  const draft = h("button", { class: "button create-draft", type: "button", title: t("create.draft.title") }, t("create.draft"));
  const error = h("p", { class: "field-error", role: "alert" });
  const run = (work) => async () => {
    if (generate.disabled) return;
    error.textContent = "";
    for (const button of [generate, draft]) button.disabled = true;
    try {
      await allSent();
      made.add(await work());
      rememberLast();
      announce(t("create.queued"));
    } catch (reason) {
      fail(reason, error, fields);
    } finally {
      for (const button of [generate, draft]) button.disabled = false;
    }
  };
  const start = run(startVideo);
  generate.addEventListener("click", start);
  draft.addEventListener("click", run(startDraft));
  replace(place, error, h("div", { class: "create-buttons" }, generate, draft));
  const offs = [
    on(document, "keydown", (event) => {
      const isWanted = event.key === "Enter" && !event.repeat && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]");
      if (!isWanted) return;
      event.preventDefault();
      start();
    }),
    plan.subscribe(({ state }) => { if (state === "ready") error.textContent = ""; }),
  ];
  return () => offs.forEach((off) => off());
}

async function startVideo() {
  const video = await makeVideo(body());
  return { id: video.id, kind: "video" };
}

/** A draft and, for later, its final: both with the seed that the plan drew. */
async function startDraft() {
  const asked = body();
  const answer = await api.post("/videos/plan", asked);
  const words = (asked.prompt ?? "").trim().slice(0, NAME_LENGTH);
  const both = draftAndFinal(asked, answer, `${words} · ${answer.seed}`);
  const video = await makeVideo(both.draft);
  return { id: video.id, kind: "draft", final: both.final };
}

/** Say what is wrong, at the field where there is one. */
function fail(reason, place, fields) {
  if (reason.name !== "ApiError") console.error(reason);
  place.textContent = reason.message;
  const made = reason.param ? fields.get(reason.param) : undefined;
  if (!made) return;
  made.setError(reason.message);
  made.element.closest("details")?.setAttribute("open", "");
  made.focus();
}
