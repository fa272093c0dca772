/** The fields of a request, as the server describes them. */

import { api } from "./api.js";

/** @type {Promise<any> | null} */
let asked = null;
/** @type {Map<string, any>} */
const byName = new Map();

export const schema = {
  /** The whole schema: `groups`, `fields` and `options`. */
  load() {
    asked ??= api.get("/schema").then((found) => {
      for (const field of [...found.options, ...found.fields]) byName.set(field.name, field);
      return found;
    }, (error) => {
      asked = null;
      throw error;
    });
    return asked;
  },
  /** A field by its name; load the schema first. @param {string} name */
  field(name) {
    const found = byName.get(name);
    if (!found) throw new Error(`the schema has no field ${name}`);
    return found;
  },
};
