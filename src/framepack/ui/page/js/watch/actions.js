/** What can be made of a video: settings again, a longer one, another one, or nothing. */

import { address } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { copyLink, deleteVideos, reuse } from "../gallery/actions.js";
import { extendDialog, remixDialog } from "../gallery/dialogs.js";
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
    action("reuse", "retry", () => reuse(video.id)),
    isDone && action("extend", "extend", () => extendDialog(video, goTo)),
    action("remix", "remix", () => remixDialog(video, goTo)),
    parent && h("a", { class: "button", href: `#/compare/${parent}/${video.id}` }, icon("compare"), t("watch.compare_parent")),
    isDone && video.output.video && action("copy_link", "link", () => copyLink(video)),
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

async function remove(video) {
  const isGone = await deleteVideos([video]);
  if (isGone && location.hash.includes(video.id)) go("gallery");
}

/** Another video was asked for: its page is what people want next. @param {any} made */
export function goTo(made) {
  for (const note of made.notes ?? []) notify.info(note);
  go("video", made.id);
}
