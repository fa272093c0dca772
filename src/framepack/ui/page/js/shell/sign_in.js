/** The form that asks for the key, where the server wants one. */

import { api, needsKey } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
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
    const form = keyForm(resolve);
    replace(root, h("div", { class: "card stack shell-signin" }, h("h1", null, t("shell.sign_in")), form));
    form.querySelector("input").focus();
  });
}

/**
 * Ask over what is shown, when a key no longer works: what was entered stays.
 *
 * @param {{is_admin: boolean}} before the session that has ended
 */
export function signInAgain(before) {
  const form = keyForm((session) => {
    if (session.is_admin !== before.is_admin) location.reload(); // other things may be shown
    needsKey.value = false;
    dialog.close();
  });
  const dialog = openDialog({
    title: t("shell.sign_in"),
    content: form,
    onClose: () => needsKey.value && location.reload(),
  });
  form.querySelector("input").focus();
}

/** @param {(session: any) => void} onRight @returns {HTMLFormElement} */
function keyForm(onRight) {
  const error = h("p", { class: "field-error", id: "key-error", role: "alert" });
  const input = h("input", {
    id: "key", type: "password", autocomplete: "current-password", required: true,
    "aria-describedby": "key-help key-error",
  });
  const send = async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      onRight(await api.post("/session", { key: input.value.trim() }));
    } catch (reason) {
      error.textContent = reason.status === 401 ? t("shell.wrong_key") : reason.message;
      input.setAttribute("aria-invalid", "true");
      input.select();
    }
  };
  return h(
    "form",
    { class: "stack", onsubmit: send },
    h(
      "div",
      { class: "field" },
      h("label", { for: "key" }, t("shell.key")),
      input,
      h("p", { class: "field-help", id: "key-help" }, t("shell.key_help")),
      error,
    ),
    h("button", { class: "button primary", type: "submit" }, t("shell.open")),
  );
}
