/** A grid as a file: a picture with its first frames, or what every cell was made with. */

import { h } from "../lib/dom.js";
import { stillOf } from "../gallery/facts.js";

const CELL = 240;
const HEAD = 36;
const SIDE = 170;
const GAP = 8;

/** @param {string} group @param {import("./grid_model.js").Grid} grid */
export function saveJson(group, grid) {
  const { x, y, z, videos } = grid;
  const cells = videos.map(({ id, label, state, seed, model, request, output }) => ({ id, label, state, seed, model, request, stats: output.stats ?? null }));
  save(new Blob([JSON.stringify({ group, axes: { x, y, z }, videos: cells }, null, 2)], { type: "application/json" }), `${group}.json`);
}

/** Sheets stand under each other, one for each value of the third axis. @param {string} group @param {import("./grid_model.js").Grid} grid */
export async function savePicture(group, grid) {
  const { x, y, z } = axesOf(grid);
  const sheets = z?.values ?? [undefined];
  const sheetHeight = HEAD * 2 + y.values.length * (CELL + GAP);
  const canvas = h("canvas", { width: SIDE + x.values.length * (CELL + GAP) + GAP, height: sheets.length * sheetHeight + GAP });
  const paint = canvas.getContext("2d");
  paint.fillStyle = "#ffffff";
  paint.fillRect(0, 0, canvas.width, canvas.height);
  for (const [index, sheet] of sheets.entries()) {
    const top = index * sheetHeight;
    words(paint, [group, z && `${z.title}: ${sheet}`].filter(Boolean).join(" – "), GAP, top + 24, canvas.width - 2 * GAP, true);
    x.values.forEach((value, column) => words(paint, `${x.title}: ${value}`, SIDE + column * (CELL + GAP), top + HEAD + 22, CELL));
    for (const [row, value] of y.values.entries()) {
      const at = top + HEAD * 2 + row * (CELL + GAP);
      words(paint, value && `${y.title}: ${value}`, GAP, at + 22, SIDE - 2 * GAP);
      for (const [column, name] of x.values.entries()) await draw(paint, grid.cell(name, value, sheet), SIDE + column * (CELL + GAP), at);
    }
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  save(blob, `${group}.png`);
}

/** Videos that form no grid are one row. */
function axesOf(grid) {
  if (grid.x) return grid;
  const byLabel = new Map(grid.videos.map((video) => [video.label || video.id, video]));
  grid.cell = (name) => byLabel.get(name);
  return { x: { title: "", values: [...byLabel.keys()] }, y: { title: "", values: [""] }, z: null };
}

function words(paint, text, left, top, width, isBold = false) {
  paint.fillStyle = "#1a1b22";
  paint.font = `${isBold ? "600 18px" : "15px"} system-ui, sans-serif`;
  let shown = text;
  while (shown.length > 1 && paint.measureText(shown).width > width) shown = `${shown.slice(0, -2)}…`;
  paint.fillText(shown, left, top);
}

async function draw(paint, video, left, top) {
  paint.fillStyle = "#ececf2";
  paint.fillRect(left, top, CELL, CELL);
  const url = video && stillOf(video);
  if (!url) return;
  const image = h("img", { src: url });
  await image.decode();
  const scale = Math.min(CELL / image.naturalWidth, CELL / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  paint.drawImage(image, left + (CELL - width) / 2, top + (CELL - height) / 2, width, height);
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name.replace(/[\\/:*?"<>|]/g, "-") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
