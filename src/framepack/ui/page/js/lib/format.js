/** Numbers, times and sizes as people read them. */

import { language } from "./i18n.js";

/** @param {number} value @param {number} [digits] */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** A length of time in words: "4 s", "2 min 5 s", "1 h 3 min". @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 10) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** A place in a video: "0:04.2". @param {number} seconds */
export function clock(seconds) {
  const tenths = Math.round(Math.max(seconds, 0) * 10);
  const rest = (tenths % 600) / 10;
  const shown = Number.isInteger(rest) ? String(rest).padStart(2, "0") : rest.toFixed(1).padStart(4, "0");
  return `${Math.floor(tenths / 600)}:${shown}`;
}

/** @param {number} count */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = count < 1000 ? 0 : Math.min(Math.floor(Math.log10(count) / 3), 4);
  return `${number(count / 1000 ** step, step && count / 1000 ** step < 100 ? 1 : 0)} ${units[step]}`;
}

/** @param {number | null | undefined} value in GB of 10**9 bytes */
export function gb(value) {
  return value === null || value === undefined ? "–" : `${number(value, 1)} GB`;
}

/** "3 minutes ago". @param {number} unix seconds */
export function ago(unix) {
  const past = Date.now() / 1000 - unix;
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [unit, length] of units) {
    if (past >= length) return format.format(-Math.floor(past / length), unit);
  }
  return format.format(0, "minute");
}

/** @param {number} unix seconds */
export function dateTime(unix) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(unix * 1000);
}
