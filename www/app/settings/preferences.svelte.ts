import { EMBEDDED, type ModelChoice } from "../engine/choice.ts";
import { DEFAULTS, PRESETS, settingsFrom, type Preset, type Settings } from "./settings.ts";

export type Theme = "system" | "light" | "dark";

const KEY = "tandem-preferences";

interface Stored {
  theme?: unknown;
  sidebar?: unknown;
  shortcuts?: unknown;
  certainty?: unknown;
  usual?: unknown;
  presets?: unknown;
  address?: unknown;
  draft?: unknown;
  device?: unknown;
  server?: unknown;
  budget_bytes?: unknown;
}

/** What the person likes, across conversations. Kept beside the page, not in it. */
export class Preferences {
  theme = $state<Theme>("system");
  /** Whether the list of conversations is in view, where there is room for it. */
  sidebar = $state(true);
  /** Whether keys of this page's own do anything. */
  shortcuts = $state(true);
  /** Whether words that the model was unsure of are marked. */
  certainty = $state(false);
  /** The settings of new conversations. */
  usual = $state.raw<Settings>(DEFAULTS);
  /** Presets of the person's own. */
  presets = $state.raw<readonly Preset[]>([]);
  /** The model to load with the page: one that can be found again. */
  model = $state.raw<ModelChoice>(EMBEDDED);

  constructor() {
    const stored = read();
    if (stored.theme === "light" || stored.theme === "dark") this.theme = stored.theme;
    this.sidebar = stored.sidebar !== false;
    this.shortcuts = stored.shortcuts !== false;
    this.certainty = stored.certainty === true;
    this.usual = settingsFrom(stored.usual);
    if (Array.isArray(stored.presets)) this.presets = named(stored.presets.map(presetFrom));
    const device = stored.device === "cpu" || stored.device === "gpu" ? stored.device : "auto";
    const draft = typeof stored.draft === "string" ? stored.draft : "";
    const budget = typeof stored.budget_bytes === "number" ? { budget_bytes: stored.budget_bytes } : {};
    const { url, model } = (stored.server ?? {}) as { url?: unknown; model?: unknown };
    this.model =
      typeof url === "string" && URL.canParse(url)
        ? { source: { kind: "server", url, model: typeof model === "string" ? model : "", key: "" }, draft, device, ...budget }
        : typeof stored.address === "string"
          ? { source: { kind: "address", url: stored.address }, draft, device, ...budget }
          : { ...EMBEDDED, device, ...budget };
  }

  save(): void {
    const { theme, sidebar, shortcuts, certainty, usual, presets, model } = this;
    const stored: Stored = { theme, sidebar, shortcuts, certainty, usual, presets, device: model.device };
    if (model.budget_bytes !== undefined) stored.budget_bytes = model.budget_bytes;
    // The key is not written down.
    if (model.source.kind === "server") stored.server = { url: model.source.url, model: model.source.model };
    if (model.source.kind === "address") {
      stored.address = model.source.url;
      stored.draft = model.draft;
    }
    try {
      localStorage.setItem(KEY, JSON.stringify(stored));
    } catch {
      // Without storage they last as long as the page.
    }
  }
}

/** One of each name, none of them a shipped one's. */
function named(presets: readonly Preset[]): Preset[] {
  const shipped = new Set(PRESETS.map(({ name }) => name));
  const last = new Map(presets.map((preset) => [preset.name, preset]));
  return [...last.values()].filter(({ name }) => !shipped.has(name));
}

function presetFrom(stored: unknown): Preset {
  const { name, settings } = (stored ?? {}) as { name?: unknown; settings?: unknown };
  return { name: typeof name === "string" ? name : "Mine", about: "Yours", settings: settingsFrom(settings) };
}

function read(): Stored {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof stored === "object" && stored !== null ? stored : {};
  } catch {
    return {};
  }
}
