// Runs before the first paint, so that a chosen theme does not flash. Without a choice the system's theme holds.
try {
  const theme = localStorage.getItem("tailtrace-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage here: the system's theme holds.
}
// What a browser has to load for its first time in words takes a phone 80 ms: better now than when the page has come.
requestAnimationFrame(() => setTimeout(Intl.DateTimeFormat));
