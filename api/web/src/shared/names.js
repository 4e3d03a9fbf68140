// What an endpoint is called on the page: some of them are tailtrace's own words.

import { t } from "./words.js";

const CARD = "/_tailtrace/view?card=";
const OTHER = "__other__";

export function pageName(endpoint) {
  if (endpoint === OTHER) return t("other-paths");
  return endpoint.startsWith(CARD) ? t("card-named", { name: endpoint.slice(CARD.length) }) : endpoint;
}
