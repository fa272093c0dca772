/** Recipes: which parts make up a model. Kept on the server, and named like a model. */

import { api } from "../lib/api.js";
import { confirm } from "../lib/dialog.js";
import { h, icon, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { editRecipe } from "./recipe_editor.js";

/**
 * The part of the page about recipes.
 *
 * @param {any[]} models whose recipes are a start
 */
export function recipeSection(models) {
  const list = h("div", null);
  const load = async () => {
    const { data } = await api.get("/recipes");
    replace(list, data.length ? table(data, load, start) : h("p", { class: "muted" }, t("models.no_recipes")));
  };
  /** Edit a new recipe that begins as a model's. @param {string} id */
  const start = async (id) => {
    const text = textOf(await api.get(`/models/${id}/recipe`));
    editRecipe({ name: "", text, onSaved: load });
  };
  const preset = models.find((model) => !model.recipe)?.id ?? models[0].id;
  const element = h(
    "section",
    { class: "card stack", "aria-labelledby": "recipes-title" },
    h(
      "div",
      { class: "row apart" },
      h("div", null, h("h2", { id: "recipes-title" }, t("models.recipes")), h("p", { class: "muted" }, t("models.recipes_help"))),
      h("button", { class: "button", type: "button", onclick: () => start(preset).catch(report) }, icon("plus"), t("models.new_recipe")),
    ),
    list,
  );
  load().catch(report);
  return { element, start: (id) => start(id).catch(report) };
}

/** A recipe's text, however the answer wraps it. @param {any} answer */
export function textOf(answer) {
  return typeof answer === "string" ? answer : answer.text;
}

function table(recipes, load) {
  return h("ul", { class: "models-recipes" }, recipes.map((recipe) => line(recipe, load)));
}

function line(recipe, load) {
  const name = recipe.id ?? recipe.name;
  const edit = async () => editRecipe({ name, text: textOf(await api.get(`/recipes/${encodeURIComponent(name)}`)), onSaved: load });
  const remove = async () => {
    if (!(await confirm({ title: t("models.delete_recipe", { name }), text: t("models.delete_recipe_text"), action: t("models.delete"), danger: true }))) return;
    await api.delete(`/recipes/${encodeURIComponent(name)}`);
    notify.success(t("models.recipe_deleted", { name }));
    await load();
  };
  return h(
    "li",
    { class: "row apart" },
    h("div", { class: "grow" }, h("code", null, name), recipe.title && h("span", { class: "muted" }, " ", recipe.title), recipe.error && h("p", { class: "field-error" }, recipe.error)),
    h(
      "div",
      { class: "row" },
      h("button", { class: "button small", type: "button", "aria-label": t("models.edit_recipe", { name }), onclick: () => edit().catch(report) }, icon("edit"), t("models.edit")),
      h("button", { class: "button small quiet icon-only", type: "button", "aria-label": t("models.delete_recipe", { name }), onclick: () => remove().catch(report) }, icon("trash")),
    ),
  );
}
