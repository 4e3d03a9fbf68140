// What an endpoint is called on the page: some of them are tailtrace's own words.

import { t } from "./words.js";

const CARD = "/_tailtrace/view?card=";
const OTHER = "__other__";

export function pageName(endpoint) {
  if (endpoint === OTHER) return t("other-paths");
  if (!endpoint.startsWith(CARD)) return endpoint;
  const [, name, variant] = /^(.*)#([^#]*)$/su.exec(endpoint.slice(CARD.length)) ?? [null, endpoint.slice(CARD.length)];
  return t("card-named", { name: variant ? `${name} (${variant})` : name });
}
