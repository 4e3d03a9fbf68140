// Counts the cards that are really looked at, and says which variant of a card somebody gets.
//
//   <section data-tailtrace-card="prices" data-tailtrace-variant="B">…</section>
//
// | an element with `data-tailtrace-card` | is |
// |---|---|
// | half of it, or as much as fills half of the window, in view for a second without a break | counted: one GET to the page's own nginx |
// | in view while the page is in the background | not looked at: the second begins when the page is back |
// | of a card that this view of the page has counted, with the same variant | not counted again |
// | added, renamed, or taken away later | watched, or no longer |
//
// A page that comes back from the browser's memory (bfcache) is a new view; one that changes its content without
// loading says so by `countAgain()`. A count that fails is lost, and nothing else happens.

const NAME_LENGTH_MAX = 64;
const VARIANT = /^[A-Za-z0-9._-]{1,16}$/;
/** For a view of a page: more are a mistake in the page. */
const CARDS_MAX = 100;
const SEEN_SHARE = 0.5;
const SEEN_MS = 1000;
const ID = "tailtrace-id";
const NAME = "data-tailtrace-card";

const counted = new Set();
/** Elements in view, and the timer of each while the page is in front. */
const inView = new Map();
const watched = new Set();

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting, intersectionRatio, intersectionRect, rootBounds } of entries) {
      const fills = rootBounds && intersectionRect.width * intersectionRect.height >= SEEN_SHARE * rootBounds.width * rootBounds.height;
      if (isIntersecting && (intersectionRatio >= SEEN_SHARE || fills)) {
        if (!inView.has(target)) inView.set(target, 0);
        start(target);
      } else {
        stop(target);
        inView.delete(target);
      }
    }
  },
  { threshold: Array.from({ length: 21 }, (_, step) => step / 20) },
);

function start(element) {
  if (document.hidden || inView.get(element)) return;
  inView.set(element, setTimeout(() => count(element), SEEN_MS));
}

function stop(element) {
  clearTimeout(inView.get(element));
  if (inView.has(element)) inView.set(element, 0);
}

function count(element) {
  leave(element);
  const card = (element.getAttribute(NAME) ?? "").trim();
  const variant = element.getAttribute("data-tailtrace-variant") ?? "";
  if (!element.isConnected || !card || [...card].length > NAME_LENGTH_MAX) return;
  const query = new URLSearchParams({ card });
  if (VARIANT.test(variant)) query.set("variant", variant);
  const key = String(query);
  if (counted.has(key) || counted.size >= CARDS_MAX) return;
  counted.add(key);
  // Elsewhere than at this page's own nginx only where the page says so.
  const to = document.querySelector('meta[name="tailtrace-view"]')?.content || "/_tailtrace/view";
  try {
    fetch(`${to}?${key}`, { keepalive: true, mode: "no-cors", cache: "no-store" }).catch(() => {});
  } catch {
    // an address that is none
  }
}

function leave(element) {
  stop(element);
  inView.delete(element);
  observer.unobserve(element);
}

function enter(element) {
  leave(element);
  if (element.hasAttribute(NAME)) observer.observe(element);
}

function each(node, visit) {
  if (node.nodeType !== Node.ELEMENT_NODE && node.nodeType !== Node.DOCUMENT_FRAGMENT_NODE && node !== document) return;
  if (node.nodeType === Node.ELEMENT_NODE && node.hasAttribute(NAME)) visit(node);
  node.querySelectorAll(`[${NAME}]`).forEach(visit);
}

/** Watches the cards below a node: the document's are watched already, those in a shadow root only by this. */
export function watchCards(root = document) {
  if (watched.has(root)) return;
  watched.add(root);
  each(root, enter);
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes, removedNodes } of changes) {
      if (type === "attributes") enter(target);
      removedNodes.forEach((node) => each(node, leave));
      addedNodes.forEach((node) => node.isConnected && each(node, enter));
    }
  }).observe(root, { subtree: true, childList: true, attributeFilter: [NAME, "data-tailtrace-variant"] });
}

/** Begins a new view of the page: every card counts once more. */
export function countAgain() {
  counted.clear();
  watched.forEach((root) => each(root, enter));
}

/**
 * Gives one of `variants`, always the same to the same person: to `user`, an id of the page's own, or else to this
 * browser by a random id in its localStorage, which is sent nowhere. Each of n variants goes to 1/n of the people; a
 * variant named twice goes to twice as many. Another card divides the people anew.
 */
export function assignVariant(card, variants, user = deviceId()) {
  if (!variants?.length) throw new TypeError(`assignVariant(${JSON.stringify(card)}): name one variant at least, such as ["A", "B"]`);
  return variants[Math.floor((hash(JSON.stringify([String(card), String(user)])) / 2 ** 32) * variants.length)];
}

let fallbackId = "";
function deviceId() {
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const kept = localStorage.getItem(ID);
    if (kept) return kept;
    const made = fresh();
    localStorage.setItem(ID, made);
    return made;
  } catch {
    // Storage is forbidden: the same for as long as the page is there.
    return (fallbackId ||= fresh());
  }
}

/** FNV-1a over the text's UTF-8, and MurmurHash3's last step, which spreads ids that differ in one letter. 32 bits. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

document.addEventListener("visibilitychange", () => [...inView.keys()].forEach(document.hidden ? stop : start));
addEventListener("pageshow", (event) => event.persisted && countAgain());
watchCards();
