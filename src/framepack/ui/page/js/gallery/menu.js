/** A button with a menu of things to do. */

import { h, icon, on, uniqueId } from "../lib/dom.js";
import { report } from "../lib/notify.js";

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {string} icon
 * @property {() => any} run
 * @property {boolean} [danger]
 * @property {boolean} [apart] a line stands before it
 */

/**
 * A button that opens a menu.
 *
 * @param {string} label of the button
 * @param {() => Item[]} items asked when it opens
 * @param {string} [kind] further classes of the button
 */
export function menuButton(label, items, kind = "small") {
  const id = uniqueId("menu");
  const button = h(
    "button",
    { class: `button quiet icon-only ${kind}`, type: "button", "aria-label": label, title: label, "aria-haspopup": "menu", "aria-expanded": "false", "aria-controls": id },
    icon("more"),
  );
  button.addEventListener("click", () => (button.getAttribute("aria-expanded") === "true" ? undefined : open(button, id, label, items())));
  return button;
}

function open(button, id, label, items) {
  const menu = h("div", { class: "gallery-menu", id, role: "menu", "aria-label": label, popover: "auto" }, items.map((item) => entry(item, () => menu.hidePopover())));
  const offs = [
    on(menu, "keydown", (event) => travel(event, menu)),
    on(window, "scroll", () => put(menu, button), { passive: true }),
    on(window, "hashchange", () => menu.hidePopover()),
  ];
  menu.addEventListener("toggle", (event) => {
    if (event.newState === "open") return;
    offs.forEach((off) => off());
    button.setAttribute("aria-expanded", "false");
    const isLost = menu.contains(document.activeElement) || document.activeElement === document.body;
    if (isLost && button.isConnected) button.focus();
    menu.remove();
  });
  document.body.append(menu);
  menu.showPopover();
  button.setAttribute("aria-expanded", "true");
  put(menu, button);
  menu.querySelector("[role=menuitem]")?.focus();
}

function entry(item, close) {
  const run = async () => {
    close();
    try {
      await item.run();
    } catch (error) {
      report(error);
    }
  };
  return h(
    "button",
    { class: `gallery-menu-item ${item.danger ? "danger" : ""} ${item.apart ? "apart" : ""}`, type: "button", role: "menuitem", tabIndex: -1, onclick: run },
    icon(item.icon),
    item.label,
  );
}

/** Beside its button, inside the window. */
function put(menu, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + 4;
  const top = below + height > window.innerHeight - 8 ? Math.max(8, at.top - height - 4) : below;
  menu.style.left = `${Math.max(8, Math.min(at.right - width, window.innerWidth - width - 8))}px`;
  menu.style.top = `${top}px`;
}

function travel(event, menu) {
  const entries = [...menu.querySelectorAll("[role=menuitem]")];
  const place = entries.indexOf(document.activeElement);
  const last = entries.length - 1;
  const next = { ArrowDown: place < last ? place + 1 : 0, ArrowUp: place > 0 ? place - 1 : last, Home: 0, End: last }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  entries[next].focus();
}
