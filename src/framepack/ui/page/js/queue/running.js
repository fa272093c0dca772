/** The video that is being made: how far it is, what it looks like, and how to stop it. */

import { address } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { duration, number } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { act } from "../gallery/actions.js";
import { factsLine, nameOf, promptOf, stillOf } from "../gallery/facts.js";

/** @param {any} video @returns {import("./keyed.js").Row} */
export function runningCard(video) {
  const view = preview(video);
  const prompt = h("a", { class: "queue-now-prompt", href: `#/video/${video.id}` });
  const facts = h("p", { class: "muted" });
  const bar = h("progress", { max: 1, value: 0 });
  const percent = h("strong", { class: "queue-percent" });
  const stage = h("span");
  const left = h("span", { class: "muted queue-left" });
  const keep = actionButton("save", "stop_keep", () => act(video, "cancel", { keep: true }));
  const element = h(
    "li",
    { class: "queue-now card" },
    h("a", { class: "queue-now-view", href: `#/video/${video.id}`, "aria-label": t("queue.watch") }, view.element),
    h(
      "div",
      { class: "queue-now-words" },
      h("h3", null, prompt),
      facts,
      h("div", { class: "queue-now-progress" }, percent, stage, left),
      bar,
      h(
        "div",
        { class: "row" },
        actionButton("pause", "pause", () => act(video, "pause")),
        actionButton("stop", "stop", () => act(video, "cancel")),
        keep,
      ),
    ),
  );
  const update = (next) => {
    const { fraction, section, seconds_left: seconds } = next.progress_detail;
    keep.hidden = section === 0; // nothing to keep yet
    view.update(next);
    prompt.textContent = promptOf(next);
    facts.textContent = factsLine(next);
    bar.value = fraction;
    bar.setAttribute("aria-label", t("queue.progress_of", { name: nameOf(next) }));
    percent.textContent = t("queue.percent", { percent: Math.round(fraction * 100) });
    stage.textContent = stageWords(next.progress_detail);
    left.textContent = seconds === null || next.progress_detail.stage !== "denoise" ? "" : t("queue.left", { time: duration(seconds) });
  };
  update(video);
  return { element, update };
}

function actionButton(sign, word, run) {
  const button = h("button", { class: "button", type: "button" }, icon(sign), t(`queue.${word}`));
  button.addEventListener("click", async () => {
    button.disabled = true; // it ends within a step
    await run().catch(report);
    button.disabled = false;
  });
  return button;
}

/** "Section 2 of 3, step 4 of 8". @param {any} detail */
function stageWords({ stage, section, num_sections: sections, step, num_steps: steps }) {
  if (!stage || stage === "load") return t("queue.stage.load");
  if (stage !== "denoise") return t(`queue.stage.${stage}`);
  const at = Math.min(section + 1, Math.max(sections, 1));
  const values = { section: number(at), sections: number(Math.max(sections, 1)), step: number(step), steps: number(steps) };
  return t("queue.stage.denoise", values);
}

/** The section at work as it takes shape; before it does, the picture that it starts from. */
export function preview(video) {
  const image = h("img", { alt: "", hidden: true });
  const blank = h("span", { class: "gallery-blank" }, icon("video"));
  const element = h("div", { class: "queue-preview" }, image, blank);
  let shown = "";
  let isReading = false;
  image.addEventListener("load", () => {
    isReading = false;
    image.hidden = false;
    blank.hidden = true;
  });
  image.addEventListener("error", () => {
    isReading = false;
  });
  const show = (url) => {
    if (url === shown || isReading) return;
    shown = url;
    isReading = true;
    image.src = url;
  };
  const update = (next) => {
    const { stage, section, step } = next.progress_detail;
    const isTakingShape = stage === "denoise" && step > 0;
    if (isTakingShape) show(address(`/videos/${next.id}/preview`, { at: `${section}.${step}` }));
    else if (!shown && stillOf(next)) show(stillOf(next));
  };
  return { element, update };
}
