/** The page that asks for the key, where the server wants one. */

import { api } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/**
 * Ask until a key is right.
 *
 * @param {HTMLElement} root
 * @returns {Promise<void>}
 */
export function signIn(root) {
  return new Promise((resolve) => {
    const error = h("p", { class: "field-error", id: "key-error", role: "alert" });
    const input = h("input", {
      id: "key", type: "password", autocomplete: "current-password", required: true,
      "aria-describedby": "key-help key-error",
    });
    const send = async (event) => {
      event.preventDefault();
      error.textContent = "";
      try {
        await api.post("/session", { key: input.value.trim() });
        resolve();
      } catch (reason) {
        error.textContent = reason.status === 401 ? t("shell.wrong_key") : reason.message;
        input.setAttribute("aria-invalid", "true");
        input.select();
      }
    };
    replace(
      root,
      h(
        "form",
        { class: "card stack shell-signin", onsubmit: send },
        h("h1", null, t("shell.sign_in")),
        h(
          "div",
          { class: "field" },
          h("label", { for: "key" }, t("shell.key")),
          input,
          h("p", { class: "field-help", id: "key-help" }, t("shell.key_help")),
          error,
        ),
        h("button", { class: "button primary", type: "submit" }, t("shell.open")),
      ),
    );
    input.focus();
  });
}
