/** The frame around every page: name, what the server does now, theme, language, navigation. */

import { api } from "../lib/api.js";
import { h, icon, replace, visuallyHidden } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { LANGUAGES, language, setLanguage, t } from "../lib/i18n.js";
import { live, newest } from "../lib/live.js";
import { announce, report } from "../lib/notify.js";
import { theme } from "../lib/theme.js";

const WORK = ["create", "batch", "queue", "gallery", "tools"];
const MACHINE = ["models", "settings", "system"];

/**
 * Draw the frame.
 *
 * @param {{needs_key: boolean, is_admin: boolean, version: string}} session
 * @param {string} area that is shown first
 * @returns {{markCurrent: (area: string) => void}}
 */
export function showFrame(session, area) {
  document.getElementById("skip").textContent = t("shell.skip");
  const links = new Map();
  const item = (name, isFirst) => {
    const link = h("a", { href: `#/${name}` }, icon(name), h("span", null, t(`shell.nav.${name}`)));
    links.set(name, link);
    return h("li", { class: isFirst ? "apart" : "" }, link);
  };
  const machine = session.is_admin ? MACHINE : ["models", "settings"]; // those of this browser
  const nav = document.getElementById("nav");
  nav.setAttribute("aria-label", t("shell.navigation"));
  replace(nav, h("ul", null, WORK.map((name) => item(name, false)), machine.map((name, index) => item(name, index === 0))));
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  replace(
    document.getElementById("header"),
    serverStatus(links.get("queue")),
    themeButton(),
    languageSelect(),
    session.needs_key && signOutButton(),
  );
  const markCurrent = (name) => {
    const shown = { video: "gallery", compare: "gallery" }[name] ?? name;
    for (const [each, link] of links) {
      if (each === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };
  markCurrent(area);
  return { markCurrent };
}

/** What is being made, and how many wait: also as a number beside "Queue". */
function serverStatus(queueLink) {
  const { link, draw, waits } = statusLink(queueLink);
  /** @type {Map<string, any>} */
  const running = new Map();
  let isLost = false;
  const tell = () => draw([...running.values()][0], isLost);
  live.on("video", (video) => {
    if (video.state === "running") running.set(video.id, video);
    else running.delete(video.id);
    tell();
  });
  live.on("deleted", ({ id }) => {
    running.delete(id);
    tell();
  });
  live.on("queue", waits);
  live.on("connected", async (isThere) => {
    if (isLost === isThere) announce(t(isThere ? "shell.found" : "shell.lost"));
    isLost = !isThere;
    tell();
    if (!isThere) return;
    try {
      waits(await api.get("/queue"));
      const found = await newest(async () => (await api.get("/videos", { state: "running" })).data);
      running.clear();
      for (const video of found) if (video.state === "running") running.set(video.id, video);
      tell();
    } catch (error) {
      report(error);
    }
  });
  return link;
}

/** The link that says it, and the number beside "Queue". */
function statusLink(queueLink) {
  const dot = h("span", { class: "shell-dot", "aria-hidden": "true" });
  const text = h("span", { class: "text" }, t("shell.idle"));
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("shell.progress") });
  const count = h("span", { class: "badge count", hidden: true });
  queueLink.append(count);
  const link = h("a", { class: "shell-status", href: "#/queue" }, dot, text, bar);
  const draw = (video, isLost) => {
    link.classList.toggle("is-lost", isLost);
    dot.className = `shell-dot ${isLost ? "lost" : video ? "busy" : ""}`;
    bar.hidden = !video || isLost;
    if (video) {
      bar.value = video.progress_detail.fraction;
      link.href = `#/video/${video.id}`;
    } else link.href = "#/queue";
    text.textContent = isLost ? t("shell.lost") : video ? rendering(video) : t("shell.idle");
  };
  const waits = (queue) => {
    count.hidden = queue.waiting.length === 0;
    const words = t("shell.waiting", { count: queue.waiting.length });
    replace(count, h("span", { "aria-hidden": "true" }, queue.waiting.length), visuallyHidden(words));
  };
  return { link, draw, waits };
}

function rendering(video) {
  const percent = Math.round(video.progress_detail.fraction * 100);
  const left = video.progress_detail.seconds_left;
  return left === null ? t("shell.rendering", { percent }) : t("shell.rendering_left", { percent, left: duration(left) });
}

function themeButton() {
  const order = ["system", "light", "dark"];
  const button = h("button", { class: "button quiet icon-only", type: "button" });
  const draw = () => {
    replace(button, icon(`theme-${theme.value}`));
    button.setAttribute("aria-label", t("shell.theme", { name: t(`shell.theme.${theme.value}`) }));
    button.title = button.getAttribute("aria-label");
  };
  button.addEventListener("click", () => {
    theme.value = order[(order.indexOf(theme.value) + 1) % order.length];
    draw();
  });
  draw();
  return button;
}

function languageSelect() {
  const options = Object.entries(LANGUAGES).map(([name, title]) => h("option", { value: name, selected: name === language, lang: name }, title));
  return h("select", { class: "shell-language", "aria-label": t("shell.language"), onchange: (event) => setLanguage(event.target.value) }, options);
}

function signOutButton() {
  const leave = async () => {
    await api.delete("/session");
    location.reload();
  };
  return h("button", { class: "button quiet", type: "button", onclick: () => leave().catch(report) }, t("shell.sign_out"));
}
