/** Stop, pause, go on, try again: what can be done to a video that is not finished. */

import { api } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";

/**
 * @param {import("./source.js").Source} source
 * @param {string} id
 * @returns {{element: HTMLElement, update: (video: any, numDone: number) => void}}
 */
export function controls(source, id) {
  const element = h("div", { class: "row watch-controls", role: "group", "aria-label": t("watch.controls") });
  let drawn = "";
  const update = (video, numDone) => {
    const names = offered(video, numDone);
    if (drawn === names.join()) return;
    drawn = names.join();
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    replace(element, names.map((name) => button(name, (event) => act(name, event.currentTarget))));
    element.hidden = names.length === 0;
    // A button that was pressed gives way to another one; the focus stays here.
    if (focused) (element.querySelector(`[data-name="${focused}"]`) ?? element.querySelector("button"))?.focus();
  };
  const act = async (name, pressed) => {
    pressed.disabled = true;
    try {
      await ACTIONS[name](id);
      announce(t(`watch.did.${name}`));
      await source.refresh();
    } catch (error) {
      report(error);
    } finally {
      pressed.disabled = false;
    }
  };
  return { element, update };
}

const ACTIONS = {
  pause: (id) => api.post(`/videos/${id}/pause`),
  resume: (id) => api.post(`/videos/${id}/resume`),
  stop: (id) => api.post(`/videos/${id}/cancel`, {}),
  keep: (id) => api.post(`/videos/${id}/cancel`, { keep: true }),
  retry: (id) => api.post(`/videos/${id}/retry`),
  partial: (id) => api.post(`/videos/${id}/partial`),
};
const ICONS = { pause: "pause", resume: "play", stop: "stop", keep: "save", retry: "retry", partial: "save" };

/** What makes sense now. @param {any} video @param {number} numDone sections rendered */
export function offered(video, numDone) {
  const canSave = numDone > 0 && !video.output?.partial;
  if (video.state === "running") return numDone > 0 ? ["pause", "stop", "keep"] : ["pause", "stop"];
  if (video.state === "queued") return ["pause", "stop"];
  if (video.state === "paused") return canSave ? ["resume", "stop", "partial"] : ["resume", "stop"];
  if (video.state === "failed" || video.state === "cancelled") return canSave ? ["retry", "partial"] : ["retry"];
  return [];
}

function button(name, onclick) {
  const kind = name === "resume" || name === "retry" ? "primary" : name === "stop" ? "danger" : "";
  return h("button", { class: `button ${kind}`, type: "button", dataset: { name }, onclick }, icon(ICONS[name]), t(`watch.do.${name}`));
}
