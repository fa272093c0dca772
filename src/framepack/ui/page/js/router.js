/** Addresses of the page: `#/area/parameter/…`, each shown by the module of its area. */

import { h, replace } from "./lib/dom.js";
import { t } from "./lib/i18n.js";

/** Area to module; the modules are read when they are first shown. */
const PAGES = {
  create: () => import("./create/page.js"),
  video: () => import("./watch/page.js"),
  batch: () => import("./batch/page.js"),
  queue: () => import("./queue/page.js"),
  gallery: () => import("./gallery/page.js"),
  compare: () => import("./compare/page.js"),
  tools: () => import("./tools/page.js"),
  models: () => import("./models/page.js"),
  settings: () => import("./settings/page.js"),
  system: () => import("./system/page.js"),
};

/** @type {undefined | (() => void)} */
let leave;
let turn = 0;

/** Where the page is: area and parameters. */
export function place() {
  const [area = "", ...params] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return { area: Object.hasOwn(PAGES, area) ? area : "create", params };
}

/** Addresses that people wrote may have a lone "%". */
function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

/** Fetch the module of the page that will be shown first, while other things are asked for. */
export function prepare() {
  PAGES[place().area]().catch(() => {}); // whoever shows it says why it failed
}

/** Go to an address. @param {string} area @param {...string} params */
export function go(area, ...params) {
  location.hash = `#/${[area, ...params].map(encodeURIComponent).join("/")}`;
}

/** Show the page of the address, now and whenever it changes. @param {HTMLElement} root @param {(area: string) => void} onShown */
export function start(root, onShown) {
  const show = () => showPlace(root, onShown);
  window.addEventListener("hashchange", async () => {
    window.scrollTo(0, 0);
    await show();
    if (!root.contains(document.activeElement)) root.focus({ preventScroll: true });
  });
  return show();
}

async function showPlace(root, onShown) {
  turn += 1;
  const mine = turn;
  const { area, params } = place();
  leave?.();
  leave = undefined;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close(); // they spoke of what was shown
  // Each page has a place of its own: what comes late for one that was left is not seen.
  const page = h("div", null, h("div", { class: "shell-loading" }, t("shell.loading")));
  replace(root, page);
  onShown(area);
  document.title = `${t(`shell.nav.${area}`)} · FramePack Studio`;
  try {
    const module = await PAGES[area]();
    if (mine !== turn) return;
    replace(page);
    const done = await module.show(page, params);
    if (mine === turn) leave = done ?? undefined;
    else done?.();
  } catch (error) {
    if (mine !== turn) return;
    console.error(error);
    replace(page, failure(error));
  }
}

function failure(error) {
  return h(
    "div",
    { class: "empty", role: "alert" },
    h("h1", null, t("shell.page_failed")),
    h("p", null, error?.message ?? String(error)),
    h("button", { class: "button", type: "button", onclick: () => location.reload() }, t("shell.reload")),
  );
}
