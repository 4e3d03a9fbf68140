// The texts of the page in its languages, of the catalogue of all texts, and numbers and times as people there write them.
// A reader loads the texts of one language: each is a file of its own.

import { zone as chosen } from "./zone.js";

const LANGUAGES = {
  en: () => import("./texts/en.js"),
  es: () => import("./texts/es.js"),
};
/** What words of the server mean in a request that is open: most readers open none. */
const MEANINGS = {
  en: () => import("./texts/request_en.js"),
  es: () => import("./texts/request_es.js"),
};
const loaded = {};
let lang = "en";
/** The reader's own form of the language, `en-GB`, which says how dates look. */
let locale = "en";

/** Chooses the first of these that there are words for: tags as a browser names them, `es-MX`, or nothing. */
export function chooseLang(...wished) {
  const known = wished.flat().map((tag) => String(tag ?? "").slice(0, 2).toLowerCase());
  return known.find((tag) => tag in LANGUAGES) ?? "en";
}

/** Whether texts come in that language now. */
export const speaks = (chosen) => lang === chosen && chosen in loaded;

/** Has texts come in a language from when its file is there. */
export async function speak(chosen) {
  loaded[chosen] ??= (await LANGUAGES[chosen]()).default;
  lang = chosen;
  locale = navigator.languages?.find((tag) => tag.slice(0, 2).toLowerCase() === lang) ?? lang;
}

/** Gives a text, `{name}` in it replaced. */
export function t(key, values = {}) {
  const text = loaded[lang]?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const made = new Map();

/** Gives what writes numbers or times in one way, made once: to make it takes far longer than what it is made for. */
function format(kind, tag, options = {}) {
  const key = `${kind} ${tag} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](tag, options));
  return made.get(key);
}

/** Gives what words of the server mean, in the language of now, from when its file is there. */
export const meanings = async () => (await MEANINGS[lang]()).default;

/** Gives the text for a count: `key.one` or `key.other`. */
export const tn = (key, count) => t(`${key}.${format("PluralRules", lang).select(count) === "one" ? "one" : "other"}`, { n: number(count) });

const NONE = "–";
/** The one way to write a number, grouped as the reader's place does. */
const decimals = (value, digits, options) => format("NumberFormat", locale, { maximumFractionDigits: digits, useGrouping: "always", ...options }).format(value);

export const number = (value, digits = 0) => (value === null || value === undefined ? NONE : decimals(value, digits));

/** Gives milliseconds, from a second on as seconds. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  return Math.round(ms) >= 1000 ? `${decimals(ms / 1000, ms >= 10_000 ? 1 : 2)} s` : `${decimals(ms, ms < 10 ? 1 : 0)} ms`;
}

/** Gives hours as `1 h 20 min`. */
export function hours(value) {
  const minutes = Math.round(value * 60);
  if (minutes < 60) return minutes || !value ? `${number(minutes)} min` : "< 1 min";
  return `${number(Math.floor(minutes / 60))} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

/** Some is not 0 %, and not all is not 100 %. */
export function percent(fraction, digits = 1) {
  if (fraction === null || fraction === undefined) return NONE;
  const least = 10 ** (-digits - 2);
  const isLess = fraction > 0 && fraction < least / 2;
  const shown = isLess ? least : fraction < 1 && fraction >= 1 - least / 2 ? 1 - least : fraction;
  return (isLess ? "<" : "") + decimals(shown, digits, { style: "percent" });
}

export const bytes = (value) =>
  value >= 1e6 ? `${decimals(value / 1e6, 1)} MB` : value >= 1e3 ? `${decimals(value / 1e3, 1)} kB` : `${number(value)} B`;

/** Gives how long ago, in one unit: `3 min ago`. */
export function ago(seconds) {
  const relative = format("RelativeTimeFormat", lang, { numeric: "auto", style: "short" });
  for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  }
  return seconds < 5 ? t("now") : relative.format(-Math.floor(seconds), "second");
}

const STYLES = {
  time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  hour: { hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  date: { day: "numeric", month: "short" },
  month: { month: "short", year: "2-digit" },
  months: { month: "long", year: "numeric" },
  weekday: { weekday: "short", day: "numeric" },
  full: { dateStyle: "medium", timeStyle: "medium" },
  short: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  seconds: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

/** They tell the year where it is another than this one; what stands at an axis has no room for it. */
const DATED = ["date", "short", "seconds"];

/** Gives a time in one of STYLES, in `zone` or the one that was chosen. */
export function moment(iso, style, zone = chosen()) {
  const at = new Date(iso);
  const year = DATED.includes(style) && at.getFullYear() !== new Date().getFullYear() && { year: "numeric" };
  return format("DateTimeFormat", locale, { hourCycle: "h23", ...STYLES[style], ...year, timeZone: zone }).format(at);
}

/** Gives the hour of the day in `zone` or the one that was chosen. */
export const hourOf = (iso, zone = chosen()) =>
  Number(format("DateTimeFormat", "en", { hour: "numeric", hourCycle: "h23", timeZone: zone }).format(new Date(iso)));

/** Gives the days of the week, Monday first. */
export const weekdays = (style) =>
  [1, 2, 3, 4, 5, 6, 7].map((day) =>
    format("DateTimeFormat", lang, { weekday: style, timeZone: "UTC" }).format(new Date(Date.UTC(2024, 0, day))),
  );
