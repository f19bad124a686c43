/** The page's own keys. One list: what is bound, and what the person is told. */
import type { App } from "./app.svelte.ts";

export interface Shortcut {
  keys: string;
  about: string;
  /** `event.code` of the key, held with Ctrl (or Cmd). */
  code: string;
  shift: boolean;
  run: (app: App) => void;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { keys: "Shift O", about: "New conversation", code: "KeyO", shift: true, run: begin },
  { keys: "K", about: "Search conversations", code: "KeyK", shift: false, run: search },
  { keys: "B", about: "Show or hide the list of conversations", code: "KeyB", shift: false, run: toggleList },
  { keys: "Shift M", about: "Models", code: "KeyM", shift: true, run: (app) => (app.panel = "models") },
  { keys: ",", about: "Settings", code: "Comma", shift: false, run: (app) => (app.panel = "settings") },
  { keys: ".", about: "Tools", code: "Period", shift: false, run: (app) => (app.panel = "tools") },
  { keys: "Shift .", about: "What has left this machine", code: "Period", shift: true, run: (app) => (app.panel = "requests") },
  { keys: "/", about: "This list", code: "Slash", shift: false, run: (app) => (app.panel = "shortcuts") },
];

/** What works whatever the setting: nothing else could take its place. */
export const FIXED_KEYS: readonly { keys: string; about: string }[] = [
  { keys: "Enter", about: "Send" },
  { keys: "Shift Enter", about: "New line" },
  { keys: "Esc", about: "Stop the reply, or close what lies over the page" },
  { keys: "← →", about: "Among a reply's tokens" },
];

/** Runs what `event` is bound to; says whether it was anything. */
export function runShortcut(event: KeyboardEvent, app: App): boolean {
  if (!app.preferences.shortcuts || !(event.ctrlKey || event.metaKey) || event.altKey) return false;
  const shortcut = SHORTCUTS.find(({ code, shift }) => code === event.code && shift === event.shiftKey);
  shortcut?.run(app);
  return shortcut !== undefined;
}

/** The list is beside the conversation where there is room, else over it. */
export function isNarrow(): boolean {
  return matchMedia("(max-width: 52rem)").matches;
}

export function begin(app: App): void {
  app.library.begin();
  app.drawer = false;
  focusOn("composer");
}

export function toggleList(app: App): void {
  if (isNarrow()) {
    app.drawer = !app.drawer;
    return;
  }
  app.preferences.sidebar = !app.preferences.sidebar;
  app.preferences.save();
}

function search(app: App): void {
  if (isNarrow()) app.drawer = true;
  else app.preferences.sidebar = true;
  focusOn("search");
}

/** Moves the focus once what is to have it is there. */
export function focusOn(id: "composer" | "search"): void {
  requestAnimationFrame(() => document.getElementById(id)?.focus());
}
