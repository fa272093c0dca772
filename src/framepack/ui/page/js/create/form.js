/** What fills the page Create, once the fields are known. */

import { report } from "../lib/notify.js";
import { actions } from "./actions.js";
import { commonSettings } from "./common.js";
import { fieldSet } from "./field_set.js";
import { groups } from "./groups.js";
import { incoming } from "./incoming.js";
import { jobs } from "./jobs.js";
import { pictures } from "./pictures.js";
import { planView } from "./plan_view.js";
import { presets } from "./presets.js";
import { promptCard } from "./prompt.js";

/**
 * Fill the page.
 *
 * @param {HTMLElement} root of the page
 * @param {Record<string, HTMLElement>} parts its places
 * @param {any} found the schema
 * @returns {() => void} ends it
 */
export function fill(root, parts, found) {
  const fields = fieldSet(found);
  const made = jobs(parts.jobs);
  presets(parts.tools);
  const offs = [fields.end, pictures(parts.pictures, { fields }), promptCard(parts.prompt, { fields })];
  commonSettings(parts.common, { fields });
  offs.push(
    groups(parts.groups, { found, fields }), // takes the fields that the others left
    planView(parts.plan, parts.notes, { fields }),
    actions(parts.actions, { fields, made }),
    incoming(root),
    made.end,
  );
  made.restore().catch(report);
  return () => offs.forEach((end) => end());
}
