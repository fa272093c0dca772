/** What the doctor found, in the order in which people need it. */

const LEVELS = ["problem", "note", "good"];

/**
 * Findings by level, the gravest first; levels without any are left out.
 *
 * @param {{topic: string, level: string, text: string, advice: string}[]} findings
 * @returns {[string, any[]][]}
 */
export function sortedFindings(findings) {
  return LEVELS.map((level) => [level, findings.filter((each) => each.level === level)]).filter(([, some]) => some.length > 0);
}
