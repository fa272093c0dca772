/** The settings page: those of the server's machine, and those of this browser. */

import { api } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { t, tOr } from "../lib/i18n.js";
import { announce, notify } from "../lib/notify.js";
import { faultsOf } from "../tools/faults.js";
import { browserSection } from "./browser.js";
import { changes } from "./changes.js";
import { settingField } from "./field.js";
import { saveBar } from "./save_bar.js";

/**
 * Show the page.
 *
 * @param {HTMLElement} root
 * @returns {Promise<() => void>} ends it
 */
export async function show(root) {
  const body = h("div", { class: "stack settings-body" });
  const index = h("nav", { class: "settings-index", "aria-label": t("settings.groups") });
  const file = h("p", { class: "muted settings-file" });
  replace(
    root,
    h("div", { class: "page-head" }, h("div", null, h("h1", null, t("settings.title")), file)),
    h("div", { class: "settings-columns" }, index, body),
  );
  const browser = browserSection();
  try {
    const off = drawMachine(await api.get("/settings"), { index, body, file, browser });
    return off;
  } catch (error) {
    if (error.status !== 403) throw error;
    replace(body, h("p", { class: "note" }, t("settings.operators_only")), browser);
    return undefined;
  }
}

/** @param {any} answer of `/v1/settings` @param {any} parts @returns {() => void} ends it */
function drawMachine(answer, parts) {
  let fields = new Map();
  const bar = saveBar({
    describe: (name, value) => fields.get(name).describe(value),
    discard: () => {
      changes.clear();
      draw(answer);
    },
    save: async () => {
      const sent = changes.values();
      for (const field of fields.values()) field.control.setError(null);
      try {
        answer = await api.patch("/settings", sent);
      } catch (error) {
        tell(error, fields, Object.keys(sent));
        return;
      }
      changes.clear();
      draw(answer);
      notify.success(t(Object.keys(sent).some((name) => fields.get(name)?.restart) ? "settings.saved_restart" : "settings.saved"));
    },
  });
  const draw = (settings) => {
    parts.file.textContent = t("settings.file", { file: settings.file });
    fields = new Map(settings.fields.map((field) => [field.name, settingField(field)]));
    const sections = settings.groups.map((group) => groupSection(group, settings.fields.filter((field) => field.group === group.id).map((field) => fields.get(field.name))));
    replace(parts.body, sections, parts.browser, bar.element);
    replace(parts.index, indexOf([...sections, parts.browser]));
    bar.draw();
  };
  draw(answer);
  const off = changes.subscribe(() => bar.draw());
  const stay = (event) => changes.count && event.preventDefault();
  window.addEventListener("beforeunload", stay);
  return () => {
    off();
    window.removeEventListener("beforeunload", stay);
  };
}

function groupSection(group, fields) {
  const id = `settings-${group.id}`;
  return h(
    "section",
    { class: "card stack settings-group", "aria-labelledby": id },
    h("h2", { id, tabIndex: -1 }, tOr(`settings.group.${group.id}`, group.title)),
    h("div", { class: "settings-fields" }, fields.map((field) => field.element)),
  );
}

/** Buttons that go to the parts of the page; its address is the router's. */
function indexOf(sections) {
  const go = (heading) => {
    heading.scrollIntoView({ block: "start" });
    heading.focus({ preventScroll: true });
  };
  const heads = sections.map((section) => section.querySelector("h2"));
  return h("ul", null, heads.map((heading) => h("li", null, h("button", { class: "button quiet", type: "button", onclick: () => go(heading) }, heading.textContent))));
}

/** Show what the server refused beside the fields that it names. */
function tell(error, fields, sent) {
  const { byName, others } = faultsOf(error.message, sent);
  for (const [name, text] of byName) fields.get(name).control.setError(text);
  if (others.length) notify.error(others.join("; "));
  const [first] = byName.keys();
  if (first) {
    fields.get(first).control.focus();
    fields.get(first).element.scrollIntoView({ block: "center" }); // not below the bar
  }
  announce(error.message);
}
