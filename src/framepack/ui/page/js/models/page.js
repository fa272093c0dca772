/** The models page: weights, what is in memory, recipes and LoRAs. */

import { api } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { live } from "../lib/live.js";
import { notify, report } from "../lib/notify.js";
import { watchTasks } from "../tools/tasks.js";
import { modelCard } from "./card.js";
import { downloadOf } from "./download.js";
import { loraSection } from "./loras.js";
import { weightsOffer } from "./offer.js";
import { recipeSection } from "./recipes.js";

/**
 * Show the page.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} ends it
 */
export async function show(root) {
  const watch = watchTasks((task) => task.tool === "download", "download");
  const [session, models, worker] = await Promise.all([api.get("/session"), api.get("/models"), api.get("/worker"), watch.load()]).catch((error) => {
    watch.stop();
    throw error;
  });
  const isAdmin = session.is_admin;
  const state = { worker, present: new Set(models.data.filter((model) => model.weights_present).map((model) => model.id)) };
  const recipes = isAdmin ? recipeSection(models.data, watch) : null;
  const cards = models.data
    .filter((model) => !model.recipe)
    .map((model) => modelCard(model, watch, { isAdmin, onRecipe: (id) => recipes?.start(id), onWorker: (next) => { state.worker = next; draw(); } }));
  let problem = worker.load_error;
  const draw = () => {
    if (state.worker.load_error && state.worker.load_error !== problem) notify.error(state.worker.load_error);
    problem = state.worker.load_error;
    for (const card of cards) card.draw({ worker: state.worker, isPresent: state.present.has(card.id) });
  };
  const offer = h("div", null);
  replace(
    root,
    h("div", { class: "page-head" }, h("h1", null, t("models.title"))),
    h("div", { class: "stack models-page" }, offer, h("div", { class: "models-cards" }, cards.map((card) => card.element)), recipes?.element, await loraSection(isAdmin)),
  );
  draw();
  const offs = [
    live.on("worker", (next) => { state.worker = next; draw(); }),
    watch.tasks.subscribe((tasks) => {
      for (const card of cards) if (downloadOf(tasks, card.id)?.state === "completed") state.present.add(card.id);
      draw();
      recipes?.draw();
    }),
    watch.stop,
  ];
  const later = isAdmin ? laterParts(offer, cards).catch(report) : null;
  return () => {
    offs.forEach((off) => off());
    later?.then((end) => end?.());
  };
}

/** What takes the server a moment to find out. @returns {Promise<(() => void) | undefined>} ends it */
async function laterParts(offer, cards) {
  const { findings } = await api.get("/system");
  for (const card of cards) card.needs(findings.find((each) => each.topic === card.id));
  const made = await weightsOffer();
  replace(offer, made?.element);
  return made?.close;
}
