/** Dialogs: the browser's own, which keep the focus and give it back. */

import { h, icon, uniqueId } from "./dom.js";
import { t } from "./i18n.js";
import { report } from "./notify.js";

/**
 * Open a dialog.
 *
 * @param {object} options
 * @param {string} options.title
 * @param {any} options.content
 * @param {{label: string, kind?: "primary" | "danger", run?: (close: () => void) => any}[]} [options.actions]
 *   without `run` a button closes; otherwise `run` decides
 * @param {boolean} [options.wide]
 * @param {() => void} [options.onClose]
 * @returns {{element: HTMLDialogElement, close: () => void, press: () => void}} `press` is as a
 *   click on the last action
 */
export function openDialog({ title, content, actions = [], wide = false, onClose }) {
  const heading = uniqueId("dialog-title");
  const close = () => dialog.close();
  const dialog = h(
    "dialog",
    { class: wide ? "wide" : "", "aria-labelledby": heading },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: heading }, title),
      h("button", { class: "button quiet icon-only", type: "button", "aria-label": t("shell.close"), onclick: close }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, content),
    actions.length > 0 && h("div", { class: "dialog-actions" }, actions.map((action) => button(action, close))),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { element: dialog, close, press: () => /** @type {HTMLButtonElement | null} */ (dialog.querySelector(".dialog-actions .button:last-child"))?.click() };
}

/** A button; what it does is not begun again before it is done. */
function button({ label, kind, run }, close) {
  let isBusy = false;
  const press = async () => {
    if (isBusy) return;
    isBusy = true;
    try {
      await (run ? run(close) : close());
    } catch (error) {
      report(error);
    } finally {
      isBusy = false;
    }
  };
  return h("button", { class: `button ${kind ?? ""}`, type: "button", onclick: press }, label);
}

/**
 * Ask before something that cannot be undone.
 *
 * @param {{title: string, text: string, action: string, danger?: boolean}} options
 * @returns {Promise<boolean>}
 */
export function confirm({ title, text, action, danger = false }) {
  return new Promise((resolve) => {
    let said = false;
    const yes = (close) => { said = true; close(); };
    openDialog({
      title,
      content: h("p", null, text),
      actions: [{ label: t("shell.cancel") }, { label: action, kind: danger ? "danger" : "primary", run: yes }],
      onClose: () => resolve(said),
    });
  });
}
