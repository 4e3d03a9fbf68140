// Keys that do something anywhere on the page, and the sheet that names them (`?`). Who types into a field only types;
// who dictates, or types by accident, can turn them off.

import { h, replace } from "../shared/dom.js";
import { t } from "../shared/words.js";

const OFF = "tailtrace-keys-off";

export class Keys {
  /** `actions`: {key: [text's key, what it does]}, in the order of the sheet. */
  constructor(actions) {
    this.actions = { "?": ["key-help", () => this.open()], ...actions };
    this.body = h("div", { class: "dialog-body" });
    this.sheet = h("dialog", { class: "keys", "aria-labelledby": "keys-title" }, this.body);
    addEventListener("keydown", (event) => this.#pressed(event));
  }

  open() {
    const isOn = h("input", { type: "checkbox", onchange: (event) => turn(event.target.checked) });
    isOn.checked = !isOff();
    replace(this.body,
      h("div", { class: "dialog-head" },
        h("h2", { id: "keys-title" }, t("keys")),
        h("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => this.sheet.close() }, "✕")),
      h("dl", null, ...Object.entries(this.actions).map(([key, [said]]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, t(said))))),
      h("label", { class: "keys-on" }, isOn, " ", t("keys-on")));
    this.sheet.showModal();
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=radio]), select, textarea")) return;
    const action = this.actions[event.key];
    if (!action || isOff()) return;
    event.preventDefault();
    action[1]();
  }
}

function isOff() {
  try {
    return localStorage.getItem(OFF) === "1";
  } catch {
    return false;
  }
}

function turn(isOn) {
  try {
    if (isOn) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // No storage here: they stay on.
  }
}
