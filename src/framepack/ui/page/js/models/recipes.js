/** Recipes: which parts make up a model. Kept on the server, and named like a model. */

import { api } from "../lib/api.js";
import { confirm } from "../lib/dialog.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { downloadOf, downloadPlace } from "./download.js";
import { editRecipe } from "./recipe_editor.js";

/**
 * The part of the page about recipes.
 *
 * @param {any[]} models whose recipes are a start
 * @param {ReturnType<typeof import("../tools/tasks.js").watchTasks>} watch
 * @returns {{element: HTMLElement, start: (id: string) => void, draw: () => void}}
 */
export function recipeSection(models, watch) {
  const list = h("div", null);
  /** @type {any[]} */
  let lines = [];
  const draw = () => lines.forEach((each) => each.draw());
  const load = async () => {
    const { data } = await api.get("/recipes");
    lines = data.map((recipe) => line(recipe, load, watch));
    replace(list, lines.length ? h("ul", { class: "models-recipes" }, lines.map((each) => each.element)) : h("p", { class: "muted" }, t("models.no_recipes")));
    draw();
  };
  /** Edit a new recipe that begins as a model's. @param {string} id */
  const start = async (id) => {
    const text = await api.get(`/models/${id}/recipe`);
    editRecipe({ name: "", text, onSaved: load });
  };
  const preset = models.find((model) => !model.recipe)?.id ?? models[0].id;
  const element = h(
    "section",
    { class: "card stack", "aria-labelledby": "recipes-title" },
    h(
      "div",
      { class: "models-head" },
      h("div", null, h("h2", { id: "recipes-title" }, t("models.recipes")), h("p", { class: "muted" }, t("models.recipes_help"))),
      h("button", { class: "button", type: "button", onclick: () => start(preset).catch(report) }, icon("plus"), t("models.new_recipe")),
    ),
    list,
  );
  load().catch(report);
  return { element, start: (id) => start(id).catch(report), draw };
}

function line(recipe, load, watch) {
  const name = recipe.id;
  const download = downloadPlace({ ...recipe, size_gb: null }, watch, { mayDownload: true, isFirst: false });
  const edit = () => editRecipe({ name, text: recipe.text, onSaved: load });
  const remove = async () => {
    if (!(await confirm({ title: t("models.delete_recipe", { name }), text: t("models.delete_recipe_text"), action: t("models.delete"), danger: true }))) return;
    await api.delete(`/recipes/${encodeURIComponent(name)}`);
    notify.success(t("models.recipe_deleted", { name }));
    await load();
  };
  const element = h(
    "li",
    { class: "row apart" },
    h("div", { class: "grow" }, h("strong", null, name), " ", h("span", { class: "muted" }, recipe.title), " ", recipe.weights_present || h("span", { class: "badge warn" }, t("models.absent"))),
    h(
      "div",
      { class: "row" },
      h("button", { class: "button small", type: "button", "aria-label": t("models.edit_recipe", { name }), onclick: edit }, icon("edit"), t("models.edit")),
      h("button", { class: "button small quiet icon-only", type: "button", "aria-label": t("models.delete_recipe", { name }), onclick: () => remove().catch(report) }, icon("trash")),
    ),
    download.element,
  );
  const draw = () => download.draw(recipe.weights_present || downloadOf(watch.tasks.value, name)?.state === "completed");
  return { element, draw };
}
