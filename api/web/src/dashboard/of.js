// Which requests a number is of, said beside it: usage, requests to the app, all traffic. Two numbers of the page may
// differ for it. docs/definitions.md has the words.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

/** `kind`: `usage`, `app` or `all`. */
export const of = (kind) => h("span", { class: "of", title: t(`of-${kind}-how`) }, t(`of-${kind}`));
