/** What belongs to this browser alone: colours, language, and what it keeps. */

import { confirm } from "../lib/dialog.js";
import { h, icon } from "../lib/dom.js";
import { LANGUAGES, language, setLanguage, t } from "../lib/i18n.js";
import { forgetStored } from "../lib/stored.js";
import { theme } from "../lib/theme.js";

const THEMES = ["system", "light", "dark"];

/** The part of the page about this browser. @returns {HTMLElement} */
export function browserSection() {
  return h(
    "section",
    { class: "card stack settings-group", "aria-labelledby": "settings-browser" },
    h("h2", { id: "settings-browser", tabIndex: -1 }, t("settings.browser")),
    h("div", { class: "settings-fields" }, themeField(), languageField()),
    h("div", { class: "row apart settings-forget" }, h("p", { class: "muted grow" }, t("settings.forget_help")), h("button", { class: "button danger", type: "button", onclick: forget }, icon("trash"), t("settings.forget"))),
  );
}

function themeField() {
  const option = (name) => {
    const id = `theme-${name}`;
    const input = h("input", { type: "radio", name: "theme", id, checked: theme.value === name, onchange: () => { theme.value = name; } });
    return h("label", { class: "settings-radio", for: id }, input, h("span", null, t(`settings.theme.${name}`)));
  };
  return h("fieldset", { class: "field" }, h("legend", null, t("settings.theme")), h("div", { class: "settings-radios" }, THEMES.map(option)));
}

function languageField() {
  const options = Object.entries(LANGUAGES).map(([name, title]) => h("option", { value: name, selected: name === language, lang: name }, title));
  return h(
    "div",
    { class: "field" },
    h("label", { for: "settings-language" }, t("settings.language")),
    h("select", { id: "settings-language", onchange: (event) => setLanguage(event.target.value) }, options),
  );
}

async function forget() {
  if (!(await confirm({ title: t("settings.forget_title"), text: t("settings.forget_text"), action: t("settings.forget"), danger: true }))) return;
  forgetStored();
  location.reload();
}
