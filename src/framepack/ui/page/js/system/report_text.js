/** The report for whoever is to help: plain text, in English, without anything secret. */

import { sortedFindings } from "./findings.js";

/**
 * @param {{system: any, worker: any, queue: any}} known answers of the server
 * @returns {string}
 */
export function reportText({ system, worker, queue }) {
  const lines = ["FramePack Studio: report on this machine", ""];
  for (const [level, findings] of sortedFindings(system.findings)) {
    lines.push(`${level}:`);
    for (const { topic, text, advice } of findings) lines.push(`  ${topic}: ${text}${advice ? ` (${advice})` : ""}`);
  }
  lines.push("", `worker: ${JSON.stringify(worker)}`, `queue: ${JSON.stringify(queue.counts)}`);
  lines.push(`browser: ${navigator.userAgent}`, "", "machine:", JSON.stringify(system.machine, null, 2));
  return `${lines.join("\n")}\n`;
}
