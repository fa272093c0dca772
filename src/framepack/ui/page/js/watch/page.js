/** The page of one video, `#/video/ID`: watch it, see how it was made, and go on from it. */

import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { schema } from "../lib/schema.js";
import { actionBar } from "./actions.js";
import { buildPanel, sectionStart } from "./panel.js";
import { redoDialog } from "./redo.js";
import { promptView, settingsView } from "./settings_view.js";
import { openSource } from "./source.js";
import { stateBadge } from "../gallery/facts.js";

/**
 * @param {HTMLElement} root
 * @param {string[]} params id of the video
 * @returns {Promise<() => void>}
 */
export async function show(root, [id]) {
  let source;
  try {
    await schema.load();
    source = await openSource(id);
  } catch (error) {
    if (error.status !== 404) throw error;
    replace(root, gone());
    return () => {};
  }
  const onSection = (index) => {
    const play = () => panel.player.seek(sectionStart(source, index));
    if (source.video.value.state === "completed") redoDialog(source.video.value, source.plan.value.answer.plan, index, play);
    else play();
  };
  const head = h("div", { class: "page-head watch-head" });
  const actions = h("div");
  const panel = buildPanel(source, id, { onSection, below: actions });
  const notes = h("div", { class: "stack tight" });
  const side = h("aside", { class: "watch-aside card stack", "aria-label": t("watch.settings") });
  replace(root, head, h("div", { class: "watch-page" }, h("div", { class: "stack watch-main" }, panel.element, notes), side));
  let drawn = "";
  const draw = (video) => {
    if (!video) {
      replace(root, gone());
      return;
    }
    const key = JSON.stringify([video.state, video.output, video.error]);
    if (key === drawn) return;
    drawn = key;
    replace(head, h("div", { class: "row" }, h("h1", null, title(video)), stateBadge(video)), parentLink(video));
    replace(actions, actionBar(video));
    replace(notes, (video.notes ?? []).map((note) => h("p", { class: "note" }, icon("info"), " ", note)));
    replace(side, h("h2", null, t("watch.settings")), promptView(video), settingsView(video));
  };
  const off = source.video.subscribe(draw);
  draw(source.video.value);
  return () => {
    off();
    panel.close();
    source.close();
  };
}

/** The prompt's beginning: what people know a video by. */
function title(video) {
  const words = video.prompt.trim().split(/\s+/);
  const start = words.slice(0, 9).join(" ");
  if (!start) return t("watch.untitled");
  return words.length > 9 ? `${start} …` : start;
}

function parentLink(video) {
  const parent = video.remixed_from_video_id;
  return parent && h("a", { class: "button quiet small", href: `#/video/${parent}` }, icon("left"), t("watch.parent"));
}

function gone() {
  return h("div", { class: "empty" }, h("h1", null, t("watch.gone")), h("p", null, h("a", { href: "#/gallery" }, t("watch.to_gallery"))));
}
