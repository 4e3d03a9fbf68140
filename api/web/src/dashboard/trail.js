// What the browser's Back and Forward lead through.
//
// | somebody | the history |
// |---|---|
// | chooses a period, a filter, an end of the period | gets an entry |
// | opens a request | gets an entry, which carries the line: Forward shows it again without asking |
// | closes a request | goes back, where that entry lies before; else (a link led to it) the address loses it |
// | chooses a language, takes a notice away | keeps its entry, with another address |

export class Trail {
  #isLeaving = false;
  #next = null;

  /** `onWalk()` is called when somebody went back or forward. */
  constructor({ onWalk }) {
    addEventListener("popstate", () => {
      this.#isLeaving = false;
      onWalk();
      this.#next?.();
      this.#next = null;
    });
  }

  /** The line of the request that this entry opened, or null. */
  get line() {
    return history.state?.line ?? null;
  }

  step(address, line = null) {
    history.pushState(line && { line }, "", address);
  }

  rename(address) {
    history.replaceState(history.state, "", address);
  }

  /** Closes what the entry opened; `address` is that of the page without it. */
  leave(address) {
    if (this.#isLeaving) return;
    if (!this.line) {
      this.rename(address);
      return;
    }
    this.#isLeaving = true;
    history.back();
  }

  /** Does something where the page is, or will be in a moment: a way back takes its time. */
  once(act) {
    if (this.#isLeaving) this.#next = act;
    else act();
  }
}
