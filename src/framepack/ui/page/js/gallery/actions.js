/** What can be done with a video that was made, as entries of its menu. */

import { api } from "../lib/api.js";
import { copyText } from "../lib/clipboard.js";
import { confirm } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { go } from "../router.js";
import { chooseOther } from "./compare_with.js";
import { extendDialog, redoDialog, remixDialog } from "./dialogs.js";
import { contentOf, nameOf } from "./facts.js";

const BETWEEN_DOWNLOADS_MS = 700;

/**
 * Entries of a video's menu.
 *
 * @param {any} video
 * @returns {import("./menu.js").Item[]}
 */
export function actionsOf(video) {
  const isDone = video.state === "completed";
  const isVideo = isDone && contentOf(video)?.is === "video";
  const canRetry = video.state === "failed" || video.state === "cancelled";
  const entry = (name, sign, run, more = {}) => ({ label: t(`gallery.${name}`), icon: sign, run, ...more });
  return [
    entry("open", "eye", () => go("video", video.id)),
    entry("reuse", "retry", () => reuse(video.id)),
    canRetry && entry("retry", "play", () => act(video, "retry")),
    canRetry && !contentOf(video) && video.progress_detail.section > 0 && entry("keep_partial", "save", () => keepPartial(video)),
    entry("remix", "remix", () => remixDialog(video)),
    isVideo && entry("extend", "extend", () => extendDialog(video)),
    isVideo && entry("redo", "edit", () => redoDialog(video)),
    isVideo && entry("compare_with", "compare", () => chooseOther(video)),
    contentOf(video) && entry("download", "download", () => download(video), { apart: true }),
    isDone && contentOf(video) && entry("copy_link", "link", () => copyLink(video)),
    entry("delete", "trash", () => deleteVideos([video]), { danger: true, apart: !contentOf(video) }),
  ].filter(Boolean);
}

/** Edit a video's settings. @param {string} id */
export async function reuse(id) {
  const { useSettings } = await import("../create/settings_source.js");
  await useSettings(id);
}

/** Ask one thing of a video: retry, pause, resume, cancel. @param {any} video @param {string} what @param {any} [body] */
export async function act(video, what, body) {
  return api.post(`/videos/${video.id}/${what}`, body);
}

/** Save a file. @param {any} video */
export function download(video) {
  const link = h("a", { href: contentOf(video).download, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Save several, one after the other: browsers drop those that come at once. @param {any[]} videos */
export async function downloadAll(videos) {
  const there = videos.filter(contentOf);
  for (const [index, video] of there.entries()) {
    if (index) await new Promise((resolve) => setTimeout(resolve, BETWEEN_DOWNLOADS_MS));
    download(video);
  }
  const missing = videos.length - there.length;
  if (missing) notify.info(tn("gallery.without_file", missing));
}

/** Have a video made of the sections that are there. */
async function keepPartial(video) {
  await act(video, "partial");
  notify.info(t("gallery.partial_asked"));
}

/** Copy an address of a video's file that needs no key. @param {any} video */
export async function copyLink(video) {
  const { url, expires_at: until } = await api.post(`/videos/${video.id}/links`);
  const whole = new URL(url, location.href).href;
  const note = t("gallery.link_until", { time: dateTime(until) });
  await copyText(whole, { title: t("gallery.link"), done: `${t("gallery.link_copied")} ${note}`, note });
}

/**
 * Delete videos, after asking.
 *
 * @param {any[]} videos
 * @returns {Promise<boolean>} whether it was done
 */
export async function deleteVideos(videos) {
  const text = videos.length === 1 ? t("gallery.delete_text", { name: nameOf(videos[0]) }) : tn("gallery.delete_many", videos.length);
  if (!(await confirm({ title: t("gallery.delete_title"), text, action: t("gallery.delete"), danger: true }))) return false;
  let gone = 0;
  for (const video of videos) {
    try {
      await api.delete(`/videos/${video.id}`);
      gone += 1;
    } catch (error) {
      report(error);
    }
  }
  if (gone) notify.success(tn("gallery.deleted", gone));
  return gone > 0;
}

