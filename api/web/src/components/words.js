// What the widget says, in its languages, of the catalogue of all texts. A text that counts goes by the count `n`.

import en from "../../../../bridge/tailtrace_bridge/texts/en/widget.json";
import es from "../../../../bridge/tailtrace_bridge/texts/es/widget.json";

const WORDS = { en, es };

/** Gives what speaks the first of these languages that there are words for, else English. */
export function speak(...tags) {
  const tag = tags.find((one) => one && one.slice(0, 2).toLowerCase() in WORDS) ?? "en";
  const lang = tag.slice(0, 2).toLowerCase();
  const format = (value, options) => new Intl.NumberFormat(tag, { useGrouping: "always", ...options }).format(value);
  return {
    lang,
    t(key, values = {}) {
      const form = new Intl.PluralRules(lang).select(values.n ?? 0) === "one" ? "one" : "other";
      const text = WORDS[lang][key] ?? WORDS[lang][`${key}.${form}`];
      return text.replace(/\{(\w+)\}/g, (_, name) => (name === "n" ? format(values.n) : values[name]));
    },
    number: (value) => format(value),
    short: (value) => format(value, { notation: "compact", maximumFractionDigits: 1 }),
    /** A day as `2026-11-24`, of no time zone. */
    day: (iso, options) => new Intl.DateTimeFormat(tag, { ...options, timeZone: "UTC" }).format(new Date(`${iso}T00:00:00Z`)),
    time: (date) => new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(date),
  };
}
