/** Files that a tool is to work on: sent, dropped, or chosen from the gallery. */

import { api } from "../lib/api.js";
import { h, icon, replace, uniqueId } from "../lib/dom.js";
import { dropZone, pickFiles } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { announce, report } from "../lib/notify.js";
import { chooseVideos } from "./gallery_dialog.js";

const ACCEPT = { video: "video", sound: "sound", tensors: "safetensors", picture: "picture" };
/** Fields for which videos of the gallery do, and which file of theirs is meant. */
const OF_A_VIDEO = { video: "video", videos: "video", frames: "raw" };

/**
 * @param {any} field with its words
 * @param {string} name of the field on the server
 * @param {{value: import("./kept.js").Source[], onChange: (sources: import("./kept.js").Source[]) => void}} options
 */
export function sourcesInput(field, name, { value, onChange }) {
  const id = uniqueId("sources");
  let sources = value;
  const accept = ACCEPT[field.accepts] ?? "picture or video";
  const list = h("ul", { class: "tools-sources" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("tools.sending") });
  const error = h("p", { class: "field-error", id: `${id}-error`, role: "alert" });
  const change = (next) => {
    sources = next;
    error.textContent = "";
    draw();
    onChange(sources);
  };
  const add = (more) => change(field.many ? [...sources, ...more] : more.slice(0, 1));
  const send = async (files) => {
    bar.hidden = false;
    try {
      for (const file of field.many ? files : files.slice(0, 1)) {
        const sent = await api.upload(file, { onProgress: (share) => { bar.value = share; } });
        add([{ id: sent.id, name: file.name, still: null }]);
      }
    } catch (problem) {
      error.textContent = problem.message;
    } finally {
      bar.hidden = true;
    }
  };
  const pick = async () => {
    const files = await pickFiles({ accept, multiple: Boolean(field.many) });
    if (files.length) await send(files);
  };
  const uploadButton = h("button", { id, class: "button small", type: "button", "aria-describedby": `${id}-help ${id}-error`, onclick: () => pick().catch(report) }, icon("upload"), t(field.many ? "tools.upload_many" : "tools.upload"));
  const galleryButton = OF_A_VIDEO[name] && h("button", { class: "button small", type: "button", onclick: () => chooseVideos({ many: Boolean(field.many), output: OF_A_VIDEO[name], onChosen: add }) }, icon("gallery"), t("tools.from_gallery"));
  const draw = () => replace(list, sources.map((source, index) => sourceLine(source, index, sources, change)));
  const box = h("div", { class: "tools-drop" }, list, h("div", { class: "row" }, galleryButton, uploadButton, h("span", { class: "muted tools-or-drop" }, t("tools.or_drop"))), bar);
  dropZone(box, { accept, onFiles: (files) => send(files) });
  draw();
  const element = h(
    "div",
    { class: "field", role: "group", "aria-labelledby": `${id}-label` },
    h("span", { class: "label", id: `${id}-label` }, field.title, !field.needed && h("span", { class: "muted" }, ` ${t("tools.optional")}`)),
    box,
    h("p", { class: "field-help", id: `${id}-help` }, [field.help, field.unset && t("tools.without", { what: field.unset })].filter(Boolean).join(" ")),
    error,
  );
  return {
    element,
    setError: (text) => { error.textContent = text ?? ""; },
    focus: () => (galleryButton ?? uploadButton).focus(),
  };
}

function sourceLine(source, index, sources, change) {
  const swap = (other) => {
    const next = [...sources];
    [next[index], next[other]] = [next[other], next[index]];
    change(next);
    announce(t("tools.moved", { name: source.name, place: other + 1 }));
  };
  const small = (name, label, run) => h("button", { class: "button quiet small icon-only", type: "button", "aria-label": label, title: label, onclick: run }, icon(name));
  return h(
    "li",
    { class: "tools-source" },
    source.still ? h("img", { src: source.still, alt: "", loading: "lazy" }) : h("span", { class: "tools-source-icon" }, icon("video")),
    h("span", { class: "grow tools-source-name", title: source.name }, sources.length > 1 && h("span", { class: "muted" }, `${index + 1}. `), source.name),
    index > 0 && small("up", t("tools.move_up", { name: source.name }), () => swap(index - 1)),
    index < sources.length - 1 && small("down", t("tools.move_down", { name: source.name }), () => swap(index + 1)),
    small("close", t("tools.remove", { name: source.name }), () => change(sources.filter((_, each) => each !== index))),
  );
}
