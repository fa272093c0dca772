/** What can be made of a video: settings again, a longer one, another one, or nothing. */

import { address, api } from "../lib/api.js";
import { confirm, openDialog } from "../lib/dialog.js";
import { h, icon, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { go } from "../router.js";
import { hasEnded } from "./source.js";

/**
 * The buttons of a video.
 *
 * @param {any} video a VideoObject
 * @returns {HTMLElement}
 */
export function actionBar(video) {
  const isDone = video.state === "completed";
  const hasPartial = Boolean(video.output?.partial);
  const parent = video.remixed_from_video_id;
  const download = (isDone && video.output.video) || hasPartial;
  return h(
    "div",
    { class: "toolbar watch-actions" },
    download && h("a", { class: "button primary", href: address(`/videos/${video.id}/content`, isDone ? {} : { variant: "partial" }), download: fileName(video) }, icon("download"), t(isDone ? "watch.download" : "watch.download_partial")),
    action("reuse", "retry", () => reuse(video)),
    isDone && action("extend", "extend", () => extend(video)),
    action("remix", "remix", () => remix(video)),
    parent && h("a", { class: "button", href: `#/compare/${parent}/${video.id}` }, icon("compare"), t("watch.compare_parent")),
    action("copy_link", "link", () => copyLink()),
    hasEnded(video) && action("delete", "trash", () => remove(video), "quiet"),
  );
}

function action(name, drawing, run, kind = "") {
  const onclick = () => Promise.resolve(run()).catch(report);
  return h("button", { class: `button ${kind}`, type: "button", onclick }, icon(drawing), t(`watch.${name}`));
}

function fileName(video) {
  const words = (video.prompt || "video").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 48).replace(/^-+|-+$/g, "");
  const ending = (video.output.video ?? video.output.partial).split(".").at(-1);
  return `${words || "video"}-${video.seed}.${ending}`;
}

async function reuse(video) {
  const { useSettings } = await import("../create/settings_source.js");
  await useSettings(video.id);
}

async function copyLink() {
  await navigator.clipboard.writeText(location.href);
  notify.success(t("watch.link_copied"));
}

async function remove(video) {
  const isSure = await confirm({ title: t("watch.delete_title"), text: t("watch.delete_text"), action: t("watch.delete"), danger: true });
  if (!isSure) return;
  await api.delete(`/videos/${video.id}`);
  notify.info(t("watch.deleted"));
  if (location.hash.includes(video.id)) go("gallery");
}

function extend(video) {
  const id = uniqueId("extend");
  const seconds = h("input", { id: `${id}-seconds`, type: "number", min: 0.1, max: 600, step: 0.1, value: "1.2", required: true, inputMode: "decimal" });
  const prompt = h("textarea", { id: `${id}-prompt`, rows: 3, placeholder: video.prompt });
  const content = h(
    "div",
    { class: "stack" },
    h("p", { class: "muted" }, t("watch.extend_help")),
    labelled(seconds, t("watch.extend_seconds")),
    labelled(prompt, t("watch.extend_prompt")),
  );
  const body = () => ({ seconds: String(Number(seconds.value)), ...(prompt.value.trim() ? { prompt: prompt.value.trim() } : {}) });
  ask(t("watch.extend_title"), t("watch.extend"), content, () => seconds.reportValidity(), () => api.post(`/videos/${video.id}/extend`, body()));
}

function remix(video) {
  const prompt = h("textarea", { id: uniqueId("remix"), rows: 4, value: video.prompt, required: true });
  const content = h("div", { class: "stack" }, h("p", { class: "muted" }, t("watch.remix_help")), labelled(prompt, t("watch.remix_prompt")));
  ask(t("watch.remix_title"), t("watch.remix"), content, () => prompt.reportValidity(), () => api.post(`/videos/${video.id}/remix`, { prompt: prompt.value.trim() }));
}

/** A field of a dialog. @param {HTMLElement} input @param {string} label */
export function labelled(input, label) {
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input);
}

/**
 * Ask for something that makes another video, and go there.
 *
 * @param {string} title
 * @param {string} label of the button
 * @param {HTMLElement} content
 * @param {() => boolean} isRight shows what is missing
 * @param {() => Promise<any>} make answers with the new VideoObject
 */
export function ask(title, label, content, isRight, make) {
  const error = h("p", { class: "field-error", role: "alert" });
  const run = async (close) => {
    if (!isRight()) return;
    error.textContent = "";
    try {
      const video = await make();
      close();
      for (const note of video.notes ?? []) notify.info(note);
      go("video", video.id);
    } catch (reason) {
      error.textContent = reason.message;
    }
  };
  content.append(error);
  openDialog({ title, content, actions: [{ label: t("shell.cancel") }, { label, kind: "primary", run }] });
}
