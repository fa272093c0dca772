/** Where there is a graphics card and no large model yet, its download is the first thing to do. */

import { api } from "../lib/api.js";
import { h, icon } from "../lib/dom.js";
import { gb } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { watchTasks } from "../tools/tasks.js";
import { downloadOf, downloadPlace } from "./download.js";
import { shortName } from "./names.js";
import { verdict } from "./verdict.js";

/**
 * A card that offers the weights, for the top of a page.
 *
 * @returns {Promise<{element: HTMLElement, close: () => void} | null>} null where there is nothing to offer: some weights are
 *   there, no accelerator that could run them is, or the user may not download
 */
export async function weightsOffer() {
  const [session, { data }] = await Promise.all([api.get("/session"), api.get("/models")]);
  const published = data.filter((model) => model.licence !== null && !model.recipe);
  if (!session.is_admin || !published.length || published.some((model) => model.weights_present)) return null;
  const { machine, findings } = await api.get("/system");
  if (!machine || !hasAccelerator(machine)) return null;
  const fitting = published.filter((model) => {
    const finding = findings.find((each) => each.topic === model.id);
    return !finding || verdict(model, finding).canRun;
  });
  if (!fitting.length) return null;
  const watch = watchTasks((task) => task.tool === "download", "download");
  await watch.load();
  return offerCard(fitting, machine, watch);
}

/** Whether torch computes on something faster than the CPU. */
function hasAccelerator(machine) {
  const device = machine.compute.device.split(":")[0];
  return !["", "cpu"].includes(device);
}

function offerCard(models, machine, watch) {
  const done = h("p", { class: "note ok", role: "status", hidden: true }, t("models.offer_done"));
  const places = models.map((model, index) => ({ model, ...downloadPlace(model, watch, { mayDownload: true, isFirst: index === 0 }) }));
  const card = h(
    "section",
    { class: "card stack models-offer", "aria-label": t("models.offer_title") },
    h(
      "div",
      { class: "models-offer-head" },
      h("span", { class: "models-offer-icon" }, icon("models")),
      h("div", { class: "stack tight" }, h("h2", null, t("models.offer_title")), h("p", null, t("models.offer_text", { device: cardName(machine) }))),
    ),
    h("div", { class: "models-offer-choices" }, places.map(({ model, element }) => choice(model, element))),
    done,
  );
  const draw = () => {
    let isAny = false;
    for (const { model, draw: drawPlace } of places) {
      const isPresent = downloadOf(watch.tasks.value, model.id)?.state === "completed";
      isAny ||= isPresent;
      drawPlace(isPresent);
    }
    done.hidden = !isAny;
  };
  draw();
  const offs = [watch.tasks.subscribe(draw), watch.stop];
  return { element: card, close: () => offs.forEach((off) => off()) };
}

function choice(model, place) {
  return h(
    "div",
    { class: "stack tight models-offer-choice" },
    h("h3", null, shortName(model)),
    h("p", { class: "muted" }, t(`models.about.${model.variants[0]}`)),
    h("p", { class: "muted" }, model.size_gb ? t("models.offer_size", { size: gb(model.size_gb) }) : t("models.offer_size_unknown")),
    place,
  );
}

function cardName(machine) {
  return machine.cards[0]?.name ?? machine.compute.device_name ?? machine.compute.device;
}
