/** Drag the rows of a list to another place, with mouse, pen or finger. */

import { isStill } from "../lib/dom.js";

const EDGE_PX = 72;
const SCROLL_PX = 12;
const SLIDE_MS = 130;

/**
 * Let rows be dragged by their handles.
 *
 * @param {HTMLElement} list
 * @param {object} options
 * @param {string} options.handle selector of what rows are taken by
 * @param {(isDragging: boolean) => void} options.onHold while it is true the list must not be redrawn
 * @param {(row: HTMLElement, place: number) => void} options.onDrop
 */
export function draggable(list, { handle, onHold, onDrop }) {
  list.addEventListener("pointerdown", (event) => {
    const grip = event.button === 0 && event.target.closest(handle);
    if (!grip) return;
    event.preventDefault();
    grip.focus();
    hold(list, grip.closest("li"), event, { onHold, onDrop });
  });
}

function hold(list, row, event, { onHold, onDrop }) {
  const first = [...list.children];
  const grip = event.clientY - row.getBoundingClientRect().top;
  let pointer = event.clientY;
  let frame = 0;
  const follow = () => {
    scrollAtEdge(pointer);
    pass(list, row, pointer);
    row.style.transform = "";
    row.style.transform = `translateY(${pointer - grip - row.getBoundingClientRect().top}px)`;
    frame = requestAnimationFrame(follow);
  };
  const move = (next) => {
    pointer = next.clientY;
  };
  const end = (isDropped) => {
    cancelAnimationFrame(frame);
    for (const [type, handler] of listeners) window.removeEventListener(type, handler, true);
    row.style.transform = "";
    row.classList.remove("is-dragged");
    list.classList.remove("is-dragging");
    const place = [...list.children].indexOf(row);
    if (!isDropped) list.replaceChildren(...first);
    onHold(false);
    if (isDropped && place !== first.indexOf(row)) onDrop(row, place);
  };
  const listeners = [
    ["pointermove", move],
    ["pointerup", () => end(true)],
    ["pointercancel", () => end(false)],
    ["keydown", (key) => key.key === "Escape" && (key.preventDefault(), end(false))],
  ];
  for (const [type, handler] of listeners) window.addEventListener(type, handler, true);
  row.classList.add("is-dragged");
  list.classList.add("is-dragging");
  onHold(true);
  frame = requestAnimationFrame(follow);
}

/** Let neighbours whose middle the pointer has passed step to the other side. */
function pass(list, row, pointer) {
  for (;;) {
    const before = row.previousElementSibling;
    const after = row.nextElementSibling;
    if (before && pointer < middle(list, before)) slide(before, () => list.insertBefore(before, row.nextElementSibling));
    else if (after && pointer > middle(list, after)) slide(after, () => list.insertBefore(after, row));
    else return;
  }
}

/** Where it stands in the layout: while it slides there it is drawn elsewhere. */
function middle(list, element) {
  return list.getBoundingClientRect().top + element.offsetTop + element.offsetHeight / 2;
}

function slide(element, move) {
  element.getAnimations().forEach((animation) => animation.cancel());
  const from = element.getBoundingClientRect().top;
  move();
  const by = from - element.getBoundingClientRect().top;
  if (!isStill()) element.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: SLIDE_MS, easing: "ease-out" });
}

function scrollAtEdge(pointer) {
  if (pointer < EDGE_PX) window.scrollBy(0, -SCROLL_PX);
  else if (pointer > window.innerHeight - EDGE_PX) window.scrollBy(0, SCROLL_PX);
}
