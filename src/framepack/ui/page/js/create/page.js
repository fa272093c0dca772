/** Create: say what to make, see what it would be, and have it made. */

import { draft } from "../lib/draft.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { plan, watchDraft } from "../lib/plan.js";
import { schema } from "../lib/schema.js";

const NO_OFFER = "framepack.no-offer";
const OFFER_AFTER_MS = 2000; // the doctor that is asked takes the processor for some seconds

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
  let isOver = false;
  const offer = async () => {
    const close = await offerWeights(parts.offer);
    if (!close) return;
    if (isOver) close();
    else offs.push(close);
  };
  const timer = window.setTimeout(() => offer().catch(report), OFFER_AFTER_MS);
  return () => {
    isOver = true;
    clearTimeout(timer);
    offs.forEach((end) => end());
  };
}

/** Where a machine could run the published weights and lacks them, offer them before all else. @returns {Promise<(() => void) | undefined>} ends it */
async function offerWeights(place) {
  if (sessionStorage.getItem(NO_OFFER)) return undefined;
  const { weightsOffer } = await import("../models/offer.js");
  const made = await weightsOffer();
  if (made) replace(place, made.element);
  else sessionStorage.setItem(NO_OFFER, "1");
  return made?.close;
}

/** The page's places. */
function layout() {
  const place = (name) => h("div", { class: `create-${name}` });
  const parts = Object.fromEntries(
    ["offer", "tools", "pictures", "prompt", "timeline", "jobs", "common", "notes", "plan", "actions", "groups"].map((name) => [name, place(name)]),
  );
  const page = h(
    "div",
    { class: "create-page is-loading" },
    h("h1", { class: "visually-hidden" }, t("create.title")),
    parts.offer,
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
