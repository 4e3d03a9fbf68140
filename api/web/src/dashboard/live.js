// Hears of news by server-sent events, and says how the line is; without a stream it asks anew each POLL_MS.
//
// | state | when |
// |---|---|
// | live | events come |
// | lost | the stream broke: the browser tries again by itself |
// | polling | the server gives no stream (too many pages are open), or has none for who asks: it tells of everybody |
// | trouble | the store does not answer, says the server |

const POLL_MS = 15_000;
const REOPEN_MS = 60_000;

export function listen({ hasStream, onNews, onState }) {
  let polling = 0;
  const poll = () => {
    onState("polling");
    polling ||= setInterval(() => onNews(null), POLL_MS);
  };
  const open = () => {
    const source = new EventSource("/analytics/stream");
    source.addEventListener("news", (event) => {
      onState("live");
      onNews(JSON.parse(event.data));
    });
    source.addEventListener("trouble", (event) => onState("trouble", JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // CLOSED: refused for good, by a status other than 200. The browser tries again by itself otherwise.
      if (source.readyState !== EventSource.CLOSED) return onState("lost");
      poll();
      setTimeout(() => {
        clearInterval(polling);
        polling = 0;
        open();
      }, REOPEN_MS);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  };
  if (hasStream) open();
  else poll();
}
