// When something was: how long ago, or the time itself where the page looks at the past, in which no now lies.

import { h } from "../shared/dom.js";
import { ago, moment } from "../shared/words.js";

export const when = (iso, isPast) =>
  h("time", { datetime: iso, title: moment(iso, "full") },
    isPast ? moment(iso, "short") : ago(Math.max(0, (Date.now() - Date.parse(iso)) / 1000)));
