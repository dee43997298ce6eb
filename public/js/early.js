// Before the first paint, so that nothing flashes: how this browser's reader wants it to look.
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
