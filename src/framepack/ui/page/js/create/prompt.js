/** The prompt, what it must not show, styles, and the button that has it expanded. */

import { api } from "../lib/api.js";
import { draft } from "../lib/draft.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { report } from "../lib/notify.js";
import { plan } from "../lib/plan.js";

/**
 * Draw the prompt.
 *
 * @param {HTMLElement} place
 * @param {{fields: ReturnType<import("./field_set.js").fieldSet>}} given
 * @returns {() => void} ends it
 */
export function promptCard(place, { fields }) {
  const prompt = fields.make("prompt", { rows: 4, plain: true });
  const negative = fields.make("negative_prompt", { rows: 2, plain: true });
  const styles = h("div", { class: "create-styles" });
  const result = h("div", { class: "create-enhanced", role: "region", "aria-label": t("create.enhance.region"), hidden: true });
  const button = h("button", { class: "button small", type: "button" }, icon("magic"), t("create.enhance"));
  const hint = h("span", { class: "field-help grow" }, t("create.prompt_hint"));
  button.addEventListener("click", () => enhance({ button, result, prompt }));
  replace(place, prompt.element, h("div", { class: "row create-prompt-tools" }, hint, button), result, negative.element, styles);
  showStyles(styles, fields).catch(report);
  const show = () => {
    const request = draft.request.value;
    const guidance = request.true_cfg_scale ?? plan.value.answer?.plan.request.true_cfg_scale ?? 1;
    negative.element.hidden = guidance <= 1;
    button.disabled = !request.prompt?.trim();
  };
  const offs = [draft.request.subscribe(show, { now: true }), plan.subscribe(show)];
  return () => offs.forEach((off) => off());
}

/** The styles that the server has, to be ticked. */
async function showStyles(place, fields) {
  const { data } = await api.get("/styles");
  const known = data.map((style) => ({ value: style.id, hint: describe(style) }));
  const chosen = draft.request.value.styles ?? [];
  if (known.length || chosen.length) replace(place, fields.make("styles", { choices: known, brief: true }).element);
}

/** What a style does: its words, and the values that it sets. */
function describe({ prompt, values }) {
  return [prompt, ...Object.entries(values ?? {}).map(([name, value]) => `${name} = ${value}`)].filter(Boolean).join("; ");
}

/** Have the prompt expanded, and show what came of it beside the original. */
async function enhance({ button, result, prompt }) {
  const { prompt: original, image } = draft.request.value;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await api.post("/prompts/enhance", { prompt: original, ...(image && { image }) });
    offer({ result, original, answer, prompt });
  } catch (error) {
    report(error);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Original and expanded prompt side by side, to use or to leave. */
function offer({ result, original, answer, prompt }) {
  const id = uniqueId("enhanced");
  const text = h("textarea", { id, rows: 5, value: answer.prompt });
  const close = () => {
    result.hidden = true;
    replace(result);
    prompt.focus();
  };
  const use = () => {
    draft.set("prompt", text.value);
    close();
  };
  replace(
    result,
    h("div", { class: "field" }, h("span", { class: "label" }, t("create.enhance.original")), h("p", { class: "create-original" }, original)),
    h("div", { class: "field" }, h("label", { for: id }, t("create.enhance.result", { how: t(`create.enhance.how.${answer.how}`) })), text),
    h(
      "div",
      { class: "row create-enhanced-actions" },
      h("button", { class: "button small quiet", type: "button", onclick: close }, t("create.enhance.discard")),
      h("button", { class: "button small primary", type: "button", onclick: use }, t("create.enhance.use")),
    ),
  );
  result.hidden = false;
  text.focus();
}
