/** Many videos at once: a batch, a grid, and the page of either once it is queued. */

import { draft } from "../lib/draft.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { schema } from "../lib/schema.js";
import { batchForm } from "./batch_form.js";
import { showGrid } from "./grid_page.js";
import { xyzForm } from "./xyz_form.js";

/** @param {HTMLElement} root @param {string[]} params */
export async function show(root, params) {
  const [mode = "", group = ""] = params;
  if (mode === "grid") return showGrid(root, group);
  await schema.load();
  const form = mode === "xyz" ? await xyzForm() : batchForm();
  replace(root, head(mode), form.element);
  form.update();
  const offs = [draft.request.subscribe(form.update), draft.options.subscribe(form.update)];
  return () => {
    offs.forEach((off) => off());
    form.close();
  };
}

function head(mode) {
  const link = (address, name, isHere) => h("a", { class: "button", href: `#/batch${address}`, "aria-current": isHere ? "page" : null }, t(`batch.mode.${name}`));
  return h(
    "div",
    { class: "page-head" },
    h("div", null, h("h1", null, t("batch.title")), h("p", { class: "muted" }, t(mode === "xyz" ? "batch.grid_help" : "batch.batch_help"))),
    h("nav", { class: "batch-modes", "aria-label": t("batch.modes") }, link("", "batch", mode !== "xyz"), link("/xyz", "grid", mode === "xyz")),
  );
}
