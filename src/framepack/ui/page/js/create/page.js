/** Create: say what to make, see what it would be, and have it made. */

import { draft } from "../lib/draft.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { plan, watchDraft } from "../lib/plan.js";
import { schema } from "../lib/schema.js";

/**
 * Draw the page: at once what needs no answer of the server, then what fills it.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} ends it
 */
export async function show(root) {
  const parts = layout();
  replace(root, parts.page);
  watchDraft();
  const [found, { fill }, { timeline }] = await Promise.all([
    schema.load(),
    import("./form.js"),
    import("../timeline/timeline.js"),
  ]);
  const offs = [fill(root, parts, found), timeline(parts.timeline, { plan, draft })];
  parts.page.classList.remove("is-loading");
  return () => offs.forEach((end) => end());
}

/** The page's places. */
function layout() {
  const place = (name) => h("div", { class: `create-${name}` });
  const parts = Object.fromEntries(
    ["tools", "pictures", "prompt", "timeline", "jobs", "common", "notes", "plan", "actions", "groups"].map((name) => [name, place(name)]),
  );
  const page = h(
    "div",
    { class: "create-page is-loading" },
    h("h1", { class: "visually-hidden" }, t("create.title")),
    h(
      "div",
      { class: "create-grid" },
      h(
        "div",
        { class: "create-work stack" },
        h("section", { class: "card create-subject", "aria-label": t("create.subject") }, parts.pictures, parts.prompt),
        h("section", { class: "card create-strip", "aria-label": t("create.timeline") }, parts.timeline),
        parts.jobs,
      ),
      h(
        "aside",
        { class: "create-side", "aria-label": t("create.side") },
        h("div", { class: "create-side-card card" }, h("div", { class: "create-side-scroll" }, parts.tools, parts.common, parts.notes), parts.plan),
        parts.actions,
      ),
      h("section", { class: "create-more", "aria-label": t("create.more") }, parts.groups),
    ),
  );
  return { ...parts, page };
}
