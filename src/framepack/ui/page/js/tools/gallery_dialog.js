/** Choose finished videos by their pictures. */

import { stillOf } from "../gallery/facts.js";
import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { h, icon, replace } from "../lib/dom.js";
import { ago, duration } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { debounce } from "../lib/state.js";

const PAGE = 30;
const QUIET_MS = 300;

/** A video as a file that a tool takes. @param {any} video */
function asSource(video) {
  return { id: video.id, name: video.prompt || video.id, still: stillOf(video) };
}

/**
 * Let people choose.
 *
 * @param {{many: boolean, output: "video" | "raw", onChosen: (sources: any[]) => void}} options
 *   `output` is what a video must have left
 */
export function chooseVideos({ many, output, onChosen }) {
  /** @type {Map<string, any>} */
  const chosen = new Map();
  const tiles = h("div", { class: "tools-tiles" });
  const status = h("p", { class: "muted", role: "status" });
  const more = h("button", { class: "button", type: "button", hidden: true }, t("tools.more"));
  const search = h("input", { type: "search", placeholder: t("tools.search"), "aria-label": t("tools.search") });
  let last = null;
  let turn = 0;
  const take = (close) => {
    close();
    if (chosen.size) onChosen([...chosen.values()].map(asSource));
  };
  const load = async (isNew) => {
    turn += 1;
    const mine = turn;
    const page = await api.get("/videos", { state: "completed", limit: PAGE, search: search.value.trim() || null, after: isNew ? null : last });
    if (mine !== turn) return;
    last = page.last_id;
    const fitting = page.data.filter((video) => video.output?.[output]);
    if (isNew) replace(tiles);
    tiles.append(...fitting.map((video) => tile(video, chosen, toggle)));
    more.hidden = !page.has_more;
    status.textContent = tiles.childElementCount || page.has_more ? "" : t(output === "raw" ? "tools.no_raw" : "tools.no_videos");
  };
  const toggle = (video, button) => {
    if (!many) {
      chosen.set(video.id, video);
      take(dialog.close);
      return;
    }
    if (chosen.has(video.id)) chosen.delete(video.id);
    else chosen.set(video.id, video);
    button.setAttribute("aria-pressed", String(chosen.has(video.id)));
    addButton().textContent = chosen.size ? tn("tools.add", chosen.size) : t("tools.add_none");
  };
  more.addEventListener("click", () => load(false).catch(report));
  search.addEventListener("input", debounce(() => load(true).catch(report), QUIET_MS));
  const actions = [{ label: t("shell.cancel") }, many && { label: t("tools.add_none"), kind: "primary", run: take }].filter(Boolean);
  const dialog = openDialog({ title: t(many ? "tools.choose_many" : "tools.choose_one"), wide: true, content: h("div", { class: "stack tight" }, search, status, tiles, h("div", null, more)), actions });
  const addButton = () => dialog.element.querySelector(".dialog-actions .primary");
  load(true).catch(report);
}

function tile(video, chosen, toggle) {
  const still = stillOf(video);
  const button = h(
    "button",
    { class: "tools-tile", type: "button", "aria-pressed": String(chosen.has(video.id)), onclick: () => toggle(video, button) },
    h("span", { class: "tools-tile-check" }, icon("check")),
    still ? h("img", { src: still, alt: "", loading: "lazy" }) : h("span", { class: "tools-tile-empty" }, icon("video")),
    h("span", { class: "tools-tile-name" }, video.prompt || video.id),
    h("span", { class: "muted tools-tile-facts" }, `${duration(Number(video.seconds))} · ${video.size.replace("x", " × ")} · ${ago(video.created_at)}`),
  );
  return button;
}
