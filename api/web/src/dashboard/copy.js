// Copies a text. Browsers have no clipboard for pages over http: there it is shown, to be copied by hand.

import { h } from "../shared/dom.js";
import { t } from "../shared/words.js";

const ROWS = { short: 2, long: 12 };

/** `button` says that it is done, or has the text shown after it. */
export async function copy(button, text, size = "short") {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = t("copied");
  } catch {
    const shown = h("textarea", { class: "as-text", readonly: true, rows: ROWS[size], "aria-label": button.textContent });
    shown.value = text;
    button.parentElement.after(shown);
    button.disabled = true;
    shown.addEventListener("blur", () => {
      shown.remove();
      button.disabled = false;
    });
    shown.focus();
    shown.select();
  }
}

export const copyButton = (label, text) => h("button", { type: "button", onclick: (event) => copy(event.currentTarget, text()) }, t(label));
