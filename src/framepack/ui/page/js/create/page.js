/** Create: say what to make, see what it would be, and have it made. */

import { draft } from "../lib/draft.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { plan, watchDraft } from "../lib/plan.js";
import { schema } from "../lib/schema.js";
import { actions } from "./actions.js";
import { commonSettings } from "./common.js";
import { fieldSet } from "./field_set.js";
import { groups } from "./groups.js";
import { incoming } from "./incoming.js";
import { jobs } from "./jobs.js";
import { pictures } from "./pictures.js";
import { planView } from "./plan_view.js";
import { presets } from "./presets.js";
import { promptCard } from "./prompt.js";

// Asked for before the page is drawn, which needs neither; what fails is told by show.
schema.load().catch(() => undefined);
const drawsTimeline = import("../timeline/timeline.js");
drawsTimeline.catch(() => undefined);

/**
 * Draw the page: at once what needs no answer of the server, then the fields.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} ends it
 */
export async function show(root) {
  const parts = layout();
  replace(root, parts.page);
  const found = await schema.load();
  const fields = fieldSet(found);
  const made = jobs(parts.jobs);
  const offs = [
    fields.end,
    presets(parts.tools, { fields }),
    pictures(parts.pictures, { fields }),
    promptCard(parts.prompt, { fields }),
    commonSettings(parts.common, { fields }),
    groups(parts.groups, { found, fields }),
    planView(parts.plan, parts.notes, { fields }),
    actions(parts.actions, { fields, made }),
    incoming(root),
    made.end,
  ];
  parts.page.classList.remove("is-loading");
  watchDraft();
  const { timeline } = await drawsTimeline;
  offs.push(timeline(parts.timeline, { plan, draft }));
  made.restore().catch(report);
  return () => offs.forEach((end) => end?.());
}

/** The page's places. */
function layout() {
  const place = (name, tag = "div") => h(tag, { class: `create-${name}` });
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
        h("section", { class: "card", "aria-label": t("create.timeline") }, parts.timeline),
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
