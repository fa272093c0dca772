/** Models in the page's language. */

import { tOr } from "../lib/i18n.js";

/** A model's name; what its title adds after a comma is told elsewhere. @param {{id: string, title: string}} model */
export function shortName(model) {
  return tOr(`models.name.${model.id}`, model.title.split(", ")[0]);
}
