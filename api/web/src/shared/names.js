// What an endpoint is called on the page: some of them are tailtrace's own words.

import { t } from "./words.js";

export const CARD = "/_tailtrace/view?card=";
/** As an answer calls what somebody looks at, who looks at a card. */
const LOOKED_AT = "card: ";
const OTHER = "__other__";

/** Gives the endpoint that is meant by what somebody looks at. */
export const lookedAt = (page) => (page.startsWith(LOOKED_AT) ? CARD + page.slice(LOOKED_AT.length) : page);

/** Gives the title of what broke, which may name an endpoint. As `Texts.named`. */
export const titleName = (title) => title.replace(/(?<![\w/=])__other__(?!\w)/u, () => t("other-paths"));

export function pageName(endpoint) {
  if (endpoint === OTHER) return t("other-paths");
  if (endpoint.startsWith(LOOKED_AT)) return t("card-named", { name: endpoint.slice(LOOKED_AT.length) });
  if (!endpoint.startsWith(CARD)) return endpoint;
  const [, name, variant] = /^(.*)#([^#]*)$/su.exec(endpoint.slice(CARD.length)) ?? [null, endpoint.slice(CARD.length)];
  return t("card-named", { name: variant ? `${name} (${variant})` : name });
}
