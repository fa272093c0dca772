/** Settings of videos that were made, back in the form: from the gallery, or from a file. */

import { send } from "../forms/uploads.js";
import { api } from "../lib/api.js";
import { openDialog } from "../lib/dialog.js";
import { draft } from "../lib/draft.js";
import { h } from "../lib/dom.js";
import { isOfKind } from "../lib/files.js";
import { t } from "../lib/i18n.js";
import { notify, report } from "../lib/notify.js";
import { go } from "../router.js";

const SINGLE = ["image", "end_image", "extend", "video"];

/**
 * Edit the settings of a video of the server.
 *
 * @param {string} videoId
 * @returns {Promise<void>}
 */
export async function useSettings(videoId) {
  const found = await api.post(`/videos/${encodeURIComponent(videoId)}/reuse`);
  const undo = edit(found, (name) => `/videos/${encodeURIComponent(videoId)}/inputs/${name}`);
  tellNotes(t("create.restored"), found.notes, undo);
}

/**
 * Edit the settings that travel in a video; one that has none can be extended or drawn anew.
 *
 * @param {File} file
 * @returns {Promise<void>} when it is done; what goes wrong is told
 */
export async function restoreFile(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  try {
    const found = await api.post("/inspect", form);
    const undo = edit(found, () => undefined);
    tellNotes(t("create.restored_from", { name: file.name }), found.notes, undo);
  } catch (error) {
    const isStranger = error.status === 400 || error.status === 422;
    if (isStranger && isOfKind(file, "video")) offer(file, error.message);
    else report(error);
  }
}

/** Fill the draft, and show it. @returns {() => void} brings back what was edited before */
function edit({ request, options }, addressOf) {
  const undo = draft.replace(request, options, filesOf(request, options, addressOf));
  go("create");
  return undo;
}

/** What the uploads of a request are called, and where they are seen. */
function filesOf(request, options, addressOf) {
  const files = {};
  const add = (id, field, title) => {
    if (typeof id === "string") files[id] = { name: title, from: addressOf(field) ?? `/uploads/${id}/content` };
  };
  for (const name of SINGLE) add(request[name], name, t(`create.file.${name}`));
  add(options.audio, "audio", t("create.file.audio"));
  for (const name of ["section_images", "section_prompts"]) {
    for (const [index, cue] of (Array.isArray(request[name]) ? request[name] : []).entries()) {
      add(cue.image, `${name}-${index}`, t("create.file.section", { number: index + 1 }));
    }
  }
  return files;
}

function tellNotes(text, notes = [], undo) {
  const tell = notes.length ? notify.info : notify.success;
  tell([text, ...notes].join(" "), { action: { label: t("shell.undo"), run: undo } });
}

/** Ask what to do with a video of another program. */
function offer(file, reason) {
  const use = (name) => async (close) => {
    close();
    try {
      notify.info(t("create.sending", { name: file.name }));
      const id = await send(file);
      const { image: _, end_image: __, extend: ___, video: ____, ...rest } = draft.request.value;
      draft.request.value = { ...rest, [name]: id };
      go("create");
    } catch (error) {
      report(error);
    }
  };
  openDialog({
    title: t("create.stranger.title"),
    content: h("div", { class: "stack tight" }, h("p", null, reason), h("p", null, t("create.stranger.text"))),
    actions: [
      { label: t("shell.cancel") },
      { label: t("create.stranger.redraw"), run: use("video") },
      { label: t("create.stranger.extend"), kind: "primary", run: use("extend") },
    ],
  });
}
