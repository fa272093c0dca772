/** One model: what it is, whether its weights are here and in memory, and what can be done. */

import { api } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { bytes } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { showLicence } from "./consent.js";
import { downloadPlace } from "./download.js";
import { shortName } from "./names.js";
import { verdict } from "./verdict.js";

/**
 * @param {any} model
 * @param {ReturnType<typeof import("../tools/tasks.js").watchTasks>} watch
 * @param {{isAdmin: boolean, onRecipe: (id: string) => void, onWorker: (worker: any) => void}} options
 */
export function modelCard(model, watch, { isAdmin, onRecipe, onWorker }) {
  const badges = h("div", { class: "row" });
  const actions = h("div", { class: "row" });
  const needs = h("p", { class: "models-needs", hidden: true });
  const download = downloadPlace(model, watch, { mayDownload: isAdmin, isFirst: false });
  const element = h(
    "article",
    { class: "card stack models-card", "aria-label": model.title },
    h("div", { class: "stack tight" }, h("div", { class: "row apart" }, h("h2", null, shortName(model)), h("code", null, model.id)), badges, h("p", { class: "muted" }, t(model.licence ? `models.about.${model.variants[0]}` : "models.about.embedded"))),
    facts(model),
    needs,
    h("div", { class: "row models-foot" }, download.element, actions),
  );
  let shown = "";
  return {
    id: model.id,
    element,
    /** What the doctor says of it. @param {{level: string, text: string, advice: string} | undefined} finding */
    needs(finding) {
      if (!finding || finding.level === "good") return;
      const { text, advice, canRun } = verdict(model, finding);
      needs.hidden = false;
      needs.className = `models-needs note ${canRun ? "ok" : "warn"}`;
      replace(needs, canRun ? t("models.can_run") : text, advice && h("span", { class: "models-advice" }, advice));
      download.setFirst(canRun);
    },
    /** @param {{worker: any, isPresent: boolean}} state */
    draw({ worker, isPresent }) {
      download.draw(isPresent);
      const isLoaded = worker.alive && worker.model === model.id;
      const isLoading = worker.loading === model.id;
      const next = JSON.stringify([isPresent, isLoaded, worker]);
      if (next === shown) return;
      const focused = actions.contains(document.activeElement);
      shown = next;
      replace(badges, stateBadges(isPresent, isLoaded, isLoading), model.variants.map((name) => h("span", { class: "badge" }, t(`models.variant.${name}`))));
      replace(actions, isAdmin && isPresent && memoryButton(model, worker, isLoaded, onWorker), isAdmin && recipeButton(model, onRecipe));
      if (focused) actions.querySelector("button")?.focus();
    },
  };
}

function stateBadges(isPresent, isLoaded, isLoading) {
  return [
    isPresent ? h("span", { class: "badge ok" }, icon("check"), t("models.present")) : h("span", { class: "badge warn" }, t("models.absent")),
    isLoaded && h("span", { class: "badge accent" }, t("models.in_memory")),
    isLoading && h("span", { class: "badge accent" }, t("models.loading")),
  ];
}

function facts(model) {
  const { defaults } = model;
  const rows = [
    [t("models.fact.size"), model.size_gb ? bytes(model.size_gb * 1e9) : null],
    [t("models.fact.pixels"), t("models.pixels", { min: model.min_size, max: model.max_size })],
    [t("models.fact.defaults"), t("models.defaults", { resolution: defaults.resolution, steps: defaults.num_inference_steps })],
    [t("models.fact.licence"), model.licence ? licenceButton(model) : t("models.no_licence")],
  ];
  return h("dl", { class: "models-facts" }, rows.filter(([, value]) => value).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function licenceButton(model) {
  return h("button", { class: "models-link", type: "button", onclick: () => showLicence(model).catch(report) }, model.licence);
}

function memoryButton(model, worker, isLoaded, onWorker) {
  const run = async (event) => {
    event.target.disabled = true;
    try {
      onWorker(isLoaded ? await api.post("/worker/unload") : await api.post("/worker/load", { model: model.id }));
    } catch (error) {
      event.target.disabled = false;
      throw error;
    }
  };
  const isHeld = worker.busy || Boolean(worker.loading);
  return h(
    "button",
    { class: "button", type: "button", disabled: isHeld, title: isHeld ? t("models.busy") : "", onclick: (event) => run(event).catch(report) },
    t(isLoaded ? "models.unload" : "models.load"),
  );
}

function recipeButton(model, onRecipe) {
  return h("button", { class: "button quiet", type: "button", "aria-label": t("models.recipe_from", { title: model.title }), onclick: () => onRecipe(model.id) }, icon("edit"), t("models.recipe"));
}
