/** Files that people choose, drop or paste. */

import { on } from "./dom.js";
import { t } from "./i18n.js";
import { notify } from "./notify.js";

/** What a place takes: kinds of files, and the word for them. */
export const ACCEPT = {
  picture: { types: "image/png,image/jpeg,image/webp,image/bmp,image/gif,image/tiff", start: ["image/"] },
  video: { types: "video/*,.mkv,.webp,.gif", start: ["video/", "image/gif", "image/webp"], endings: [".mkv"] },
  "picture or video": { types: "image/*,video/*,.mkv", start: ["image/", "video/"], endings: [".mkv"] },
  sound: { types: "audio/*,video/*", start: ["audio/", "video/"] },
  safetensors: { types: ".safetensors", start: [], endings: [".safetensors"] },
};

/** Whether a file is of a kind, by what the browser says of it. */
export function isOfKind(file, kind) {
  const { start, endings = [] } = ACCEPT[kind];
  const name = file.name.toLowerCase();
  return start.some((word) => file.type.startsWith(word)) || endings.some((word) => name.endsWith(word));
}

/** Those files that a place takes; of the others people are told. */
export function suitable(files, kind) {
  const wrong = files.filter((file) => !isOfKind(file, kind));
  for (const file of wrong) {
    notify.error(t("shell.wrong_file", { name: file.name, kind: file.type || "?", wanted: t(`shell.kind.${kind.replaceAll(" ", "_")}`) }));
  }
  return files.filter((file) => isOfKind(file, kind));
}

/**
 * Let people choose files.
 *
 * @param {{accept: keyof typeof ACCEPT, multiple?: boolean}} options
 * @returns {Promise<File[]>} empty when they chose none
 */
export function pickFiles({ accept, multiple = false }) {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = ACCEPT[accept].types;
    input.multiple = multiple;
    input.addEventListener("change", () => resolve(suitable([...(input.files ?? [])], accept)));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}

/**
 * Make an element a place to drop files on; it has the class `is-over` while some are above it.
 *
 * @param {HTMLElement} element
 * @param {{accept: keyof typeof ACCEPT, onFiles: (files: File[]) => void}} options
 * @returns {() => void} ends it
 */
export function dropZone(element, { accept, onFiles }) {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("is-over");
  };
  const drop = (event) => {
    element.classList.remove("is-over");
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const files = suitable([...event.dataTransfer.files], accept);
    if (files.length) onFiles(files);
  };
  const offs = [
    on(element, "dragenter", over),
    on(element, "dragover", over),
    on(element, "dragleave", () => element.classList.remove("is-over")),
    on(element, "drop", drop),
  ];
  return () => offs.forEach((off) => off());
}

/** Files in what was pasted. @param {ClipboardEvent} event */
export function pastedFiles(event) {
  return [...(event.clipboardData?.files ?? [])];
}
