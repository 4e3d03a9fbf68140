// What the widget says, in its languages. A text with `one` and `other` goes by the count `n`.

const WORDS = {
  en: {
    title: "Analytics Last Week",
    "title-days": { one: "Analytics Today", other: "Analytics, last {n} days" },
    sessions: { one: "session", other: "sessions" },
    users: { one: "unique user", other: "unique users" },
    accesses: { one: "{n} access", other: "{n} accesses" },
    "by-day": "Accesses per day",
    day: "Day",
    requests: "Accesses",
    features: "Most used features",
    loading: "Loading the analytics…",
    empty: "Nobody has used anything in this time. Numbers appear here by themselves.",
    updated: "Updated {time}",
    stale: "Numbers of {time}. {problem}",
    away: "tailtrace does not answer. Trying again in {s} s.",
    "away-hint": "Is it running at {api}? This page's Content-Security-Policy must allow it in connect-src.",
    origin: "tailtrace does not let this page read its numbers.",
    "origin-hint": "Add {origin} to TAILTRACE_CORS_ORIGINS and start tailtrace again.",
    forbidden: "You may not see these numbers.",
    failed: "tailtrace answers with an error ({status}). Trying again in {s} s.",
    wrong: "What answers at {api} is not tailtrace, or an old one.",
    again: "Try now",
  },
  es: {
    title: "Analytics Última Semana",
    "title-days": { one: "Analytics de hoy", other: "Analytics, últimos {n} días" },
    sessions: { one: "sesión", other: "sesiones" },
    users: { one: "usuario único", other: "usuarios únicos" },
    accesses: { one: "{n} acceso", other: "{n} accesos" },
    "by-day": "Accesos por día",
    day: "Día",
    requests: "Accesos",
    features: "Funciones más usadas",
    loading: "Cargando las cifras…",
    empty: "Nadie ha usado nada en este tiempo. Las cifras aparecerán aquí solas.",
    updated: "Actualizado {time}",
    stale: "Cifras de {time}. {problem}",
    away: "tailtrace no responde. Nuevo intento en {s} s.",
    "away-hint": "¿Está en marcha en {api}? La Content-Security-Policy de esta página debe permitirlo en connect-src.",
    origin: "tailtrace no deja que esta página lea sus cifras.",
    "origin-hint": "Añade {origin} a TAILTRACE_CORS_ORIGINS y reinicia tailtrace.",
    forbidden: "No tienes permiso para ver estas cifras.",
    failed: "tailtrace responde con un error ({status}). Nuevo intento en {s} s.",
    wrong: "Lo que responde en {api} no es tailtrace, o es uno antiguo.",
    again: "Probar ahora",
  },
};

/** Gives what speaks the first of these languages that there are words for, else English. */
export function speak(...tags) {
  const tag = tags.find((one) => one && one.slice(0, 2).toLowerCase() in WORDS) ?? "en";
  const lang = tag.slice(0, 2).toLowerCase();
  const format = (value, options) => new Intl.NumberFormat(tag, options).format(value);
  return {
    lang,
    t(key, values = {}) {
      const found = WORDS[lang][key];
      const text = found.other ? found[new Intl.PluralRules(lang).select(values.n) === "one" ? "one" : "other"] : found;
      return text.replace(/\{(\w+)\}/g, (_, name) => (name === "n" ? format(values.n) : values[name]));
    },
    number: (value) => format(value),
    short: (value) => format(value, { notation: "compact", maximumFractionDigits: 1 }),
    /** A day as `2026-11-24`, of no time zone. */
    day: (iso, options) => new Intl.DateTimeFormat(tag, { ...options, timeZone: "UTC" }).format(new Date(`${iso}T00:00:00Z`)),
    time: (date) => new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(date),
  };
}
