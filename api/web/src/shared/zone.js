// The time zone that the page tells times in: one for all of it, the server's or the browser's.

const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
let chosen = own;

export const browserZone = own;
export const zone = () => chosen;

/** Chooses a zone by its IANA name; one that this browser does not know is the browser's own. */
export function chooseZone(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    chosen = name || own;
  } catch {
    chosen = own;
  }
}

/** Gives a time as a clock on the wall there shows it, `2026-10-09T08:30`. */
export function wall(iso) {
  const parts = new Intl.DateTimeFormat("en", {
    timeZone: chosen, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
  }).formatToParts(new Date(iso));
  const { year, month, day, hour, minute } = Object.fromEntries(parts.map(({ type, value }) => [type, value]));
  return `${year.padStart(4, "0")}-${month}-${day}T${hour}:${minute}`;
}

/** Gives the time (ISO) at which a clock there shows that; where it skips it or shows it twice, one beside it. */
export function instant(shown) {
  const wished = Date.parse(`${shown}Z`);
  // Twice: the first guess may lie on the other side of a change of the clocks.
  return new Date(wished - aheadMs(wished - aheadMs(wished))).toISOString();
}

/** How far a clock there is ahead of UTC. */
const aheadMs = (at) => Date.parse(`${wall(at)}Z`) - Math.floor(at / 60_000) * 60_000;
