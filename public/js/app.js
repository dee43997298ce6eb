// Where the console begins: the language first, then whether we are let in.

import { access } from "./lib/api.js";
import { choose, speak } from "./lib/i18n.js";
import { start } from "./lib/live.js";
import { prefs, show } from "./lib/prefs.js";
import { follow, route } from "./lib/router.js";
import { enter, standing } from "./lib/session.js";
import { loadStyle } from "./lib/view.js";
import { pageOf } from "./pages.js";
import "./shell/app.js";

const RETRY_MS = 5_000;

show();
follow();
// All at once: where we stand, the language, and the page that the address names, which is shown now or after the log-in.
// What became of them is told where they are needed.
const asking = standing();
const page = pageOf(route.peek().page);
page?.styles?.forEach(loadStyle);
asking.catch(() => {});
page?.load().catch(() => {});
await speak(
  choose(prefs.peek().language, navigator.languages),
  ...(page ? [page.name, ...(page.words ?? [])] : []),
);

/** @param {Promise<any>} [asked] */
async function begin(asked) {
  try {
    await enter(asked);
    start();
  } catch {
    // The shell says so; it may be a restart.
    if (access.peek() === "unknown") {
      setTimeout(begin, RETRY_MS);
    }
  }
}
await begin(asking);
