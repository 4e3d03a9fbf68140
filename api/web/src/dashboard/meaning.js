// What a word of the server means, `no-such-node`: said in the reader's language, once the texts of requests are there.

import { h, replace, rich } from "../shared/dom.js";
import { meanings } from "../shared/words.js";

/** `kind` is what the word is one of: `reason`, `source`, `span`. A word of a newer server, which has no text here, stays. */
export function meaning(kind, word) {
  const said = h("span", { title: word });
  meanings().then((texts) => replace(said, ...rich(texts[`${kind}-${word}`] ?? word)), () => replace(said, word));
  return said;
}
