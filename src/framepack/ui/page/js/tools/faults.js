/** What the server found wrong, by the field that it names. Its messages begin with the field. */

/**
 * @param {string} message sentences with "; " between them
 * @param {string[]} names of fields
 * @returns {{byName: Map<string, string>, others: string[]}}
 */
export function faultsOf(message, names) {
  const byName = new Map();
  const others = [];
  for (const line of message.split(/; (?=[a-z_]+(?:\.[a-z_]+)* (?:is|was|names|are) |unknown )/)) {
    const name = names.find((each) => new RegExp(`^(unknown (setting|field) )?'?${each}\\b`).test(line));
    if (name && !byName.has(name)) byName.set(name, line);
    else others.push(line);
  }
  return { byName, others };
}
