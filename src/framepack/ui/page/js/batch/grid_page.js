/** The videos of a group: a grid that fills as they are rendered. */

import { api } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { live, newest } from "../lib/live.js";
import { notify, report } from "../lib/notify.js";
import { go } from "../router.js";
import { act, deleteVideos, downloadAll } from "../gallery/actions.js";
import { menuButton } from "../gallery/menu.js";
import { saveJson, savePicture } from "./export.js";
import { gridOf } from "./grid_model.js";
import { gridView } from "./grid_view.js";
import { together } from "./player.js";

const PAGE = 100;
const OPEN = ["queued", "paused", "running"];

/** @param {HTMLElement} root @param {string} group */
export async function showGrid(root, group) {
  /** @type {Map<string, any>} */
  const videos = new Map();
  const head = heading(group, () => menuOf(group, videos));
  const view = gridView(() => player.reset());
  const player = together(() => view.cells());
  const nothing = h("div", { class: "empty", hidden: true }, h("h2", null, t("batch.group_empty")), h("a", { class: "button", href: "#/batch" }, t("batch.title")));
  const draw = () => {
    const grid = gridOf(videos.values());
    head.tell(grid.videos);
    view.show(grid);
    nothing.hidden = grid.videos.length > 0;
    player.element.hidden = !grid.videos.some((video) => video.output.video);
  };
  const reload = async () => {
    const found = await newest(() => everyVideo(group));
    videos.clear();
    found.forEach((video, turn) => videos.set(video.id, { ...video, turn }));
    draw();
  };
  const offs = [
    live.on("connected", (isThere) => isThere && reload().catch(report)),
    live.on("video", (video) => {
      if (video.group !== group) return;
      videos.set(video.id, { ...video, turn: videos.get(video.id)?.turn ?? videos.size });
      draw();
    }),
    live.on("deleted", ({ id }) => videos.delete(id) && draw()),
  ];
  replace(root, head.element, player.element, view.element, nothing);
  const end = () => {
    offs.forEach((off) => off());
    player.close();
  };
  try {
    await reload();
  } catch (error) {
    end();
    throw error;
  }
  return end;
}

async function everyVideo(group) {
  const found = [];
  let after = null;
  for (;;) {
    const page = await api.get("/videos", { group, order: "asc", limit: PAGE, after });
    found.push(...page.data);
    if (!page.has_more) return found;
    after = page.last_id;
  }
}

function heading(group, items) {
  const said = h("p", { class: "muted", role: "status" });
  const bar = h("progress", { max: 1, value: 0, class: "batch-grid-bar", "aria-label": t("batch.grid_progress") });
  const tell = (videos) => {
    const done = videos.filter((video) => video.state === "completed").length;
    const failed = videos.filter((video) => video.state === "failed").length;
    const parts = [t("batch.done_of", { done, count: videos.length }), failed > 0 && tn("batch.failed_count", failed)];
    said.textContent = parts.filter(Boolean).join(", ");
    const share = videos.reduce((sum, video) => sum + (OPEN.includes(video.state) ? video.progress_detail.fraction : 1), 0);
    bar.value = videos.length ? share / videos.length : 0;
    bar.hidden = !videos.some((video) => OPEN.includes(video.state));
  };
  const element = h(
    "div",
    { class: "page-head batch-group-head" },
    h("div", { class: "grow" }, h("a", { class: "batch-back", href: "#/gallery" }, icon("left"), t("shell.nav.gallery")), h("h1", { class: "batch-group-name" }, group), said),
    h("div", { class: "row" }, bar, menuButton(t("batch.menu"), items, "")),
  );
  return { element, tell };
}

function menuOf(group, videos) {
  const all = [...videos.values()];
  const waiting = all.filter((video) => ["queued", "paused"].includes(video.state));
  const failed = all.filter((video) => video.state === "failed");
  const entry = (name, sign, run, more = {}) => ({ label: t(`batch.${name}`), icon: sign, run, ...more });
  const remove = async () => {
    if (await deleteVideos(all.filter((video) => video.state !== "running"))) go("gallery");
  };
  return [
    waiting.length > 0 && entry("cancel_waiting", "stop", () => each(waiting, "cancel")),
    failed.length > 0 && entry("retry_failed", "retry", () => each(failed, "retry")),
    entry("download_all", "download", () => downloadAll(all)),
    entry("save_picture", "image", () => savePicture(group, gridOf(all))),
    entry("save_json", "save", () => saveJson(group, gridOf(all))),
    all.length > 0 && entry("delete_all", "trash", remove, { danger: true, apart: true }),
  ].filter(Boolean);
}

async function each(videos, what) {
  for (const video of videos) await act(video, what);
  notify.success(tn(`batch.${what}_done`, videos.length));
}
