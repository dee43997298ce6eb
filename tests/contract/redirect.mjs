// Loaded before the reference. Its calls to Google, whose hosts are fixed in its source, go to the simulator, with the
// headers of a later Antigravity that the simulator insists on: without them there would be nothing to examine.
const simulator = process.env.SIMULATOR_URL;
const direct = globalThis.fetch;

globalThis.fetch = (target, options = {}) => {
  const url = new URL(target instanceof Request ? target.url : target);
  if (!url.hostname.endsWith(".googleapis.com")) {
    return direct(target, options);
  }
  const headers = new Headers(options.headers);
  if (url.pathname.startsWith("/v1internal")) {
    headers.set("x-client-name", "antigravity");
    headers.set("x-client-version", "1.107.0");
    headers.set("accept", url.search === "?alt=sse" ? "text/event-stream" : "application/json");
    if (typeof options.body === "string") {
      const session = JSON.parse(options.body).request?.sessionId;
      if (session) {
        headers.set("x-machine-session-id", session);
      }
    }
  }
  return direct(new URL(url.pathname + url.search, simulator), { ...options, headers });
};
