// What a login link shows. Its secret stands behind the `#`, which no browser sends: so no log has it, and whatever
// looks at the link before its reader does burns nothing. The button sends it, in the body of a POST.

import en from "../../../../bridge/tailtrace_bridge/texts/en/login.json";
import es from "../../../../bridge/tailtrace_bridge/texts/es/login.json";

const LANGUAGES = { en, es };
const root = document.documentElement;
const wished = [...navigator.languages, root.dataset.lang].map((tag) => tag.slice(0, 2).toLowerCase());
root.lang = wished.find((tag) => tag in LANGUAGES) ?? "en";
const t = (key) => LANGUAGES[root.lang][key];

const said = document.getElementById("said");
const button = document.getElementById("log-in");
/** By the status of an answer; what is none of these may go well when it is tried again. */
const FAILURES = { 401: "link-over", 403: "link-elsewhere", 422: "link-over" };

async function logIn() {
  button.disabled = true;
  const answer = await fetch("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code: location.hash.slice(1) }),
  }).catch(() => ({ ok: false }));
  if (answer.ok) {
    // In place of this page: Back does not lead to a link that is used up.
    location.replace("/");
    return;
  }
  said.textContent = t(FAILURES[answer.status] ?? "link-failed");
  button.disabled = false;
  button.hidden = answer.status in FAILURES;
}

function say() {
  const hasCode = location.hash.length > 1;
  said.textContent = t(hasCode ? "link-ready" : "link-none");
  button.textContent = t("log-in");
  button.hidden = !hasCode;
}

button.addEventListener("click", logIn);
addEventListener("hashchange", say);
say();
