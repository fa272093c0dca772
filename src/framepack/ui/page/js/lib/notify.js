/** Short messages in a corner, which screen readers say aloud. */

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";

const SHOWN_MS = { info: 5000, success: 5000, error: 15000 };

/**
 * @param {"info" | "success" | "error"} kind
 * @param {string} text
 * @param {{action?: {label: string, run: () => void}}} [options]
 */
function show(kind, text, { action } = {}) {
  const close = () => toast.remove();
  const place = document.getElementById("toasts");
  for (const same of [...(place?.children ?? [])]) if (same.querySelector("p")?.textContent === text) same.remove();
  const toast = h(
    "div",
    { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" },
    h("p", null, text),
    action && h("button", { class: "button small", type: "button", onclick: () => { close(); action.run(); } }, action.label),
    h("button", { class: "button quiet small icon-only", type: "button", "aria-label": t("shell.close"), onclick: close }, icon("close")),
  );
  place?.append(toast);
  let timer = window.setTimeout(close, SHOWN_MS[kind]);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("focusin", () => clearTimeout(timer));
  const later = () => {
    clearTimeout(timer);
    if (!toast.matches(":hover, :focus-within")) timer = window.setTimeout(close, 3000);
  };
  toast.addEventListener("pointerleave", later);
  toast.addEventListener("focusout", () => window.setTimeout(later));
}

export const notify = {
  info: (text, options) => show("info", text, options),
  success: (text, options) => show("success", text, options),
  error: (text, options) => show("error", text, options),
};

/** Say something to screen readers only. @param {string} text */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = text;
}

/** Tell what went wrong, unless a newer request took its place. @param {any} error */
export function report(error) {
  if (error?.name === "AbortError") return;
  if (error?.name !== "ApiError") console.error(error);
  notify.error(error?.message ?? String(error));
}
