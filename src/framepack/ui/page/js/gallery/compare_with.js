/** Choose the second of two videos to see side by side. */

import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { go } from "../router.js";
import { contentOf, factsLine, nameOf, promptOf } from "./facts.js";
import { picture, playOnHover } from "./picture.js";

const SHOWN = 60;

/** Ask which one, then show both. @param {any} video */
export async function chooseOther(video) {
  const { data } = await api.get("/videos", { state: "completed", limit: SHOWN });
  const others = data.filter((each) => each.id !== video.id && contentOf(each)?.is === "video");
  // Takes of the same video come first: they are what people compare.
  const isKin = (each) => each.remixed_from_video_id === video.id || each.id === video.remixed_from_video_id;
  others.sort((a, b) => Number(isKin(b)) - Number(isKin(a)));
  const choose = (other) => {
    dialog.close();
    go("compare", video.id, other.id);
  };
  const content = others.length
    ? h("ul", { class: "gallery-choices" }, others.map((each) => h("li", null, choice(each, choose))))
    : h("p", { class: "muted" }, t("gallery.nothing_to_compare"));
  const dialog = openDialog({ title: t("gallery.compare_title", { name: nameOf(video) }), content, wide: true });
}

function choice(video, choose) {
  const shown = picture(video);
  const button = h(
    "button",
    { class: "gallery-choice", type: "button", onclick: () => choose(video) },
    shown.element,
    h("span", { class: "gallery-choice-prompt" }, promptOf(video)),
    h("span", { class: "muted" }, factsLine(video)),
  );
  playOnHover(button, shown);
  return button;
}
