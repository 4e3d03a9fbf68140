// Which requests a number is of, said beside it: usage, requests to the app, all traffic. Two numbers of the page may
// differ for it. docs/definitions.md has the words; a click on one of them shows its own.

import { t } from "../shared/words.js";
import { hinted } from "./hint.js";

/** `kind`: `usage`, `app` or `all`; `where`: what it stands beside. */
export const of = (kind, where) => hinted(t(`of-${kind}`), t(`of-${kind}-how`), "of", `${where}-${kind}`);
