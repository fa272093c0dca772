/** Build and change elements without strings of HTML. */

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("../../icons.svg", import.meta.url).pathname;

/**
 * Build an element.
 *
 * @param {string} tag
 * @param {Record<string, any> | null} [props] `class`, `dataset`, `on…` listeners, attributes with
 *   a dash or that the element has no property for, and properties. null, undefined and false
 *   leave an attribute out.
 * @param {...any} children nodes, strings, numbers and arrays of them; null and false are skipped.
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (name.startsWith("on") && typeof value === "function") {
    element.addEventListener(name.slice(2).toLowerCase(), value);
  } else if (value === null || value === undefined) {
    return;
  } else if (name === "class") {
    element.className = value;
  } else if (name === "dataset") {
    Object.assign(element.dataset, value);
  } else if (name === "for") {
    element.htmlFor = value;
  } else if (!name.includes("-") && name in element && name !== "list" && name !== "form") {
    element[name] = value;
  } else if (name.startsWith("aria-")) {
    element.setAttribute(name, String(value));
  } else if (value !== false) {
    element.setAttribute(name, value === true ? "" : value);
  }
}

/** @param {Element} parent @param {any[]} children */
function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Give an element other children.
 *
 * @param {Element} parent
 * @param {...any} children as {@link h} takes them
 */
export function replace(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Listen, and return what ends it.
 *
 * @param {EventTarget} target
 * @param {string} type
 * @param {(event: any) => void} handler
 * @param {AddEventListenerOptions} [options]
 * @returns {() => void}
 */
export function on(target, type, handler, options) {
  target.addEventListener(type, handler, options);
  return () => target.removeEventListener(type, handler, options);
}

/** Whether things are to move as little as can be. */
export function isStill() {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Words that only screen readers say. @param {string} text */
export function visuallyHidden(text) {
  return h("span", { class: "visually-hidden" }, text);
}

/** A drawing of icons.svg, which says nothing to screen readers. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

let count = 0;

/** An id that nothing else on the page has. @param {string} [word] */
export function uniqueId(word = "id") {
  count += 1;
  return `${word}-${count}`;
}
