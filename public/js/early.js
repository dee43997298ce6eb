// Before the first paint.

// How this browser's reader wants it to look, so that nothing flashes.
try {
  const { theme, contrast, density } = JSON.parse(localStorage.getItem("antigravity-proxy.prefs") ?? "{}");
  Object.assign(document.documentElement.dataset, {
    theme: theme ?? "system",
    contrast: contrast ?? "normal",
    density: density ?? "comfortable",
  });
} catch {
  // As the system has it.
}

// What each page needs beyond what all need, written by `make generate`.
/** @type {Record<string, string[] | undefined>} */
// prettier-ignore
const NEEDS = {
  overview: [
    "css/pages/overview.css",
    "js/lib/accounts.js",
    "js/lib/clipboard.js",
    "js/lib/floors.js",
    "js/lib/pool.js",
    "js/lib/volume.js",
    "js/pages/overview.js",
    "js/ui/chart.js",
    "js/ui/snippet.js",
  ],
  live: [
    "css/pages/live.css",
    "js/lib/requests.js",
    "js/lib/rows.js",
    "js/pages/live.js",
    "js/ui/chart.js",
    "js/ui/dialog.js",
    "js/ui/sight.js",
  ],
  requests: [
    "css/pages/requests.css",
    "css/pages/logs.css",
    "js/lib/accounts.js",
    "js/lib/clipboard.js",
    "js/lib/floors.js",
    "js/lib/follow.js",
    "js/lib/requests.js",
    "js/lib/rows.js",
    "js/lib/views.js",
    "js/pages/accounts/changes.js",
    "js/pages/requests.js",
    "js/ui/bulk.js",
    "js/ui/dialog.js",
    "js/ui/floor.js",
    "js/ui/more.js",
    "js/ui/sight.js",
    "js/ui/snippet.js",
    "js/ui/story.js",
    "js/ui/views.js",
  ],
  usage: [
    "css/pages/usage.css",
    "js/lib/download.js",
    "js/lib/usage.js",
    "js/lib/views.js",
    "js/pages/usage.js",
    "js/ui/chart.js",
    "js/ui/dialog.js",
    "js/ui/views.js",
  ],
  capacity: [
    "css/pages/pool.css",
    "css/pages/capacity.css",
    "js/lib/accounts.js",
    "js/lib/floors.js",
    "js/lib/forecast.js",
    "js/lib/past.js",
    "js/lib/pool.js",
    "js/lib/rows.js",
    "js/lib/views.js",
    "js/pages/accounts/changes.js",
    "js/pages/capacity.js",
    "js/ui/bulk.js",
    "js/ui/chart.js",
    "js/ui/dialog.js",
    "js/ui/floor.js",
    "js/ui/sight.js",
    "js/ui/views.js",
  ],
  accounts: [
    "css/pages/accounts.css",
    "css/pages/pool.css",
    "js/lib/accounts.js",
    "js/lib/floors.js",
    "js/lib/rows.js",
    "js/lib/views.js",
    "js/pages/accounts.js",
    "js/pages/accounts/changes.js",
    "js/ui/bulk.js",
    "js/ui/dialog.js",
    "js/ui/floor.js",
    "js/ui/sight.js",
    "js/ui/views.js",
  ],
  keys: [
    "css/pages/keys.css",
    "js/lib/clipboard.js",
    "js/lib/rows.js",
    "js/pages/keys.js",
    "js/ui/dialog.js",
    "js/ui/snippet.js",
  ],
  fleet: [
    "js/lib/accounts.js",
    "js/lib/attention.js",
    "js/lib/floors.js",
    "js/lib/past.js",
    "js/lib/pool.js",
    "js/lib/rows.js",
    "js/pages/fleet.js",
  ],
  logs: [
    "css/pages/logs.css",
    "js/lib/download.js",
    "js/lib/tail.js",
    "js/lib/views.js",
    "js/lib/when.js",
    "js/pages/logs.js",
    "js/ui/dialog.js",
    "js/ui/story.js",
    "js/ui/views.js",
    "js/ui/virtual.js",
  ],
  connect: [
    "css/pages/connect.css",
    "js/lib/clients.js",
    "js/lib/clipboard.js",
    "js/lib/settings.js",
    "js/pages/connect.js",
    "js/pages/connect/variables.js",
    "js/ui/dialog.js",
    "js/ui/snippet.js",
  ],
  settings: [
    "css/pages/settings.css",
    "js/lib/rows.js",
    "js/lib/settings.js",
    "js/lib/weights.js",
    "js/pages/settings.js",
    "js/pages/settings/common.js",
    "js/pages/settings/explain.js",
    "js/pages/settings/field.js",
    "js/pages/settings/inspector.js",
    "js/pages/settings/models.js",
    "js/pages/settings/preset.js",
    "js/pages/settings/presets.js",
    "js/pages/settings/security.js",
    "js/ui/dialog.js",
  ],
  audit: [
    "css/pages/audit.css",
    "js/lib/audit.js",
    "js/lib/download.js",
    "js/lib/follow.js",
    "js/lib/settings.js",
    "js/lib/views.js",
    "js/pages/audit.js",
    "js/pages/audit/revert.js",
    "js/pages/settings/common.js",
    "js/ui/dialog.js",
    "js/ui/views.js",
  ],
};

// That of the page which the address names, at once rather than as it is found.
const named = /^#\/([a-z]+)/.exec(location.hash)?.[1] ?? "overview";
for (const file of (Object.hasOwn(NEEDS, named) && NEEDS[named]) || []) {
  const link = document.createElement("link");
  if (file.endsWith(".css")) {
    link.rel = "preload";
    link.as = "style";
  } else {
    link.rel = "modulepreload";
  }
  link.href = file;
  document.head.append(link);
}
