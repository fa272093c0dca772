/** A video as a small picture that moves while somebody points at it. */

import { h, icon, isStill, replace } from "../lib/dom.js";
import { contentOf, stillOf } from "./facts.js";

const PAUSE_MS = 140; // a pointer that only passes starts nothing

/**
 * @param {any} video
 * @returns {{element: any, update: (video: any) => void, play: () => void, stop: () => void}}
 */
export function picture(video) {
  const element = h("div", { class: "gallery-picture" });
  let shown = "";
  let current = video;
  const update = (next) => {
    current = next;
    const key = `${stillOf(next)} ${contentOf(next)?.url} ${next.state}`;
    if (key === shown) return;
    shown = key;
    const [width, height] = next.size.split("x").map(Number);
    element.classList.toggle("is-tall", height > width * 1.25);
    replace(element, still(next));
  };
  const play = () => !isStill() && start(element, current);
  update(video);
  return { element, update, play, stop: () => end(element) };
}

function still(video) {
  const url = stillOf(video);
  if (url) return h("img", { src: url, alt: "", loading: "lazy", decoding: "async" });
  const content = contentOf(video);
  if (content?.is === "picture") return h("img", { src: content.url, alt: "", loading: "lazy" });
  if (content) return h("video", { src: content.url, muted: true, playsInline: true, preload: "metadata", tabIndex: -1 });
  return h("span", { class: "gallery-blank" }, icon(video.state === "failed" ? "warning" : "image"));
}

function start(element, video) {
  const content = contentOf(video);
  if (!content || element.querySelector(".is-moving")) return;
  const moving = content.is === "picture"
    ? h("img", { class: "is-moving", src: content.url, alt: "" })
    : h("video", { class: "is-moving", src: content.url, muted: true, loop: true, playsInline: true, autoplay: true, tabIndex: -1 });
  moving.addEventListener("error", () => moving.remove()); // the still stays where a format does not play
  element.append(moving);
}

function end(element) {
  for (const moving of element.querySelectorAll(".is-moving")) {
    if (moving instanceof HTMLVideoElement) {
      moving.pause();
      moving.removeAttribute("src");
      moving.load(); // frees the connection
    }
    moving.remove();
  }
}

/**
 * Play while an element is pointed at or has the focus.
 *
 * @param {HTMLElement} element
 * @param {{play: () => void, stop: () => void}} player
 */
export function playOnHover(element, player) {
  let timer = 0;
  const begin = () => {
    clearTimeout(timer);
    timer = window.setTimeout(player.play, PAUSE_MS);
  };
  const finish = () => {
    clearTimeout(timer);
    player.stop();
  };
  element.addEventListener("pointerenter", begin);
  element.addEventListener("focusin", begin);
  element.addEventListener("pointerleave", () => !element.contains(document.activeElement) && finish());
  element.addEventListener("focusout", (event) => !element.contains(event.relatedTarget) && !element.matches(":hover") && finish());
}
