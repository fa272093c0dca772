/** What the doctor says of a model. */

/**
 * Its sentence without the title and the addresses, which are told elsewhere.
 *
 * @param {{title: string}} model
 * @param {{text: string, advice: string}} finding
 * @returns {{text: string, advice: string, canRun: boolean}} `canRun` is whether this machine
 *   could, with its weights
 */
export function verdict(model, { text, advice }) {
  const said = text.startsWith(`${model.title}: `) ? text.slice(model.title.length + 2) : text;
  const short = said.replace(/ (Its weights|They are not): .*$/s, "").replace(/^(no|yes), /, "");
  // The command that downloads is a button here.
  const rest = advice.split("; ").filter((part) => !part.startsWith("`framepack models download"));
  return { text: short.charAt(0).toUpperCase() + short.slice(1), advice: rest.join("; "), canRun: !said.startsWith("no,") };
}
