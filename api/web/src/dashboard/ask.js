// Asks the API. An answer that does not come is an `Unanswered`, which says whose fault it is.

const PATIENCE_MS = 30_000;

/** `kind`: `away` (nobody answers, or a proxy says so), `store` (503), `refused` (a parameter), `private` (an admin's), `unknown` (nobody knows who asks), `failed` (anything else). */
export class Unanswered extends Error {
  constructor(kind, detail) {
    super(detail);
    this.kind = kind;
  }
}

export async function ask(path, query, signal) {
  const url = query ? `${path}?${query}` : path;
  let answer;
  try {
    answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]), cache: "no-store" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Unanswered("away", error.message);
  }
  if (answer.ok) return answer.json();
  const body = await answer.json().catch(() => ({}));
  const detail = typeof body.detail === "string" ? body.detail : (body.detail?.[0]?.msg ?? `HTTP ${answer.status}`);
  const kinds = { 502: "away", 503: "store", 504: "away", 422: "refused", 404: "refused", 403: "private", 401: "unknown" };
  throw new Unanswered(kinds[answer.status] ?? "failed", detail);
}
