// Makes elements. Text only ever goes in as text: names and paths are untrusted.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Makes an HTML element; an attribute `onclick` and the like is a listener, null and false leave one out. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** Makes an SVG element. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Text for screen readers alone. */
export const sr = (text) => h("span", { class: "sr" }, text);

/** Gives a text with what stands between `backticks` as code. */
export const rich = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", null, part) : part));

/** To ask an element how far it was scrolled lays out the page: only those that ever were are asked. */
const moved = new WeakSet();
const watched = new WeakSet();

function watch(host) {
  if (watched.has(host)) return;
  watched.add(host);
  host.addEventListener("scroll", ({ target }) => moved.add(target), { capture: true, passive: true });
}

/** Puts new content in, and leaves focus and scrolling where they were: elements with the same `data-key` are the same. */
export function replace(host, ...children) {
  const key = host.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  watch(host);
  const scrolled = [...host.querySelectorAll(".scroll")].map((one) => moved.has(one) && [one.scrollLeft, one.scrollTop]);
  host.replaceChildren(...children.flat(Infinity).filter(Boolean));
  host.querySelectorAll(".scroll").forEach((one, place) => {
    if (scrolled[place]) [one.scrollLeft, one.scrollTop] = scrolled[place];
  });
  if (key !== undefined) host.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}
