/** The tools page: work on finished videos, and what became of it. */

import { api } from "../lib/api.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { toolForm } from "./form.js";
import { lastTool, useIn } from "./kept.js";
import { taskCard } from "./task_card.js";
import { watchTasks } from "./tasks.js";
import { toolHelp, toolTitle } from "./words.js";

const ICONS = { clip: "link", interpolate: "extend", upscale: "expand", encode: "video", drift: "eye" };

/**
 * Show the page.
 *
 * @param {HTMLElement} root
 * @param {string[]} params the tool
 * @returns {Promise<() => void>} ends it
 */
export async function show(root, params) {
  const watch = watchTasks((task) => task.tool !== "download");
  const [{ data: tools }] = await Promise.all([api.get("/tools"), watch.load()]).catch((error) => {
    watch.stop();
    throw error;
  });
  const wanted = params[0] ?? lastTool();
  const tool = tools.find((each) => each.id === wanted) ?? tools[0];
  const list = taskList(watch, tools);
  const began = (task) => {
    watch.put(task);
    announce(t("tools.began", { title: toolTitle(tool) }));
    list.element.scrollIntoView({ block: "nearest" });
  };
  replace(
    root,
    h("div", { class: "page-head" }, h("h1", null, t("tools.title"))),
    h("nav", { class: "tools-cards", "aria-label": t("tools.choose") }, tools.map((each) => toolCard(each, each === tool))),
    h("div", { class: "tools-columns" }, toolForm(tool, { onTask: began }), list.element),
  );
  return () => {
    list.stop();
    watch.stop();
  };
}

function toolCard(tool, isChosen) {
  return h(
    "a",
    { class: "tools-card", href: `#/tools/${tool.id}`, "aria-current": isChosen ? "true" : null },
    h("span", { class: "tools-card-icon" }, icon(ICONS[tool.id] ?? "tools")),
    h("span", { class: "tools-card-title" }, toolTitle(tool)),
    h("span", { class: "muted tools-card-help" }, toolHelp(tool)),
  );
}

/** The tasks, each drawn anew only where it changed: a video that plays plays on. */
function taskList(watch, tools) {
  const items = h("div", { class: "stack tools-tasks" });
  const empty = h("div", { class: "empty" }, h("p", null, t("tools.no_tasks")));
  const more = h("button", { class: "button", type: "button", hidden: true, onclick: () => watch.loadMore().catch(report) }, t("tools.more"));
  /** @type {Map<string, {element: HTMLElement, draw: (task: any) => void}>} */
  const cards = new Map();
  const use = (tool, source) => {
    useIn(tool, source);
    if (location.hash === `#/tools/${tool.id}`) window.dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = `#/tools/${tool.id}`;
  };
  const draw = (tasks) => {
    for (const id of [...cards.keys()]) {
      if (tasks.some((task) => task.id === id)) continue;
      cards.get(id).element.remove();
      cards.delete(id);
    }
    tasks.forEach((task, index) => {
      if (!cards.has(task.id)) cards.set(task.id, taskCard(task, watch, { tools, use }));
      const card = cards.get(task.id);
      card.draw(task);
      if (items.children[index] !== card.element) items.insertBefore(card.element, items.children[index] ?? null);
    });
    empty.hidden = tasks.length > 0;
    items.hidden = tasks.length === 0;
    more.hidden = !watch.hasMore;
  };
  draw(watch.tasks.value);
  const stop = watch.tasks.subscribe(draw);
  const element = h("section", { class: "stack tools-results", "aria-labelledby": "tasks-title" }, h("h2", { id: "tasks-title" }, t("tools.tasks")), empty, items, h("div", null, more));
  return { element, stop };
}
