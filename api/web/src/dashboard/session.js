// Who is logged in, and the way out for who came by a login link.

import { ask } from "./ask.js";

const $ = (id) => document.getElementById(id);

export async function showSession() {
  const me = await ask("/session", "", new AbortController().signal).catch(() => null);
  const name = me && (me.user ?? (me.way === "session" ? me.token : null));
  if (!name) return;
  $("me-name").textContent = name;
  $("log-out").hidden = me.way !== "session";
  $("log-out").addEventListener("click", logOut);
  $("me").hidden = false;
}

async function logOut() {
  const answer = await fetch("/logout", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }).catch(() => null);
  if (answer?.ok) location.replace("/login");
}
