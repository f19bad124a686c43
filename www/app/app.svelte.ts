import { getContext, setContext } from "svelte";
import { Chat } from "./chat/chat.svelte.ts";
import { Library } from "./chat/library.svelte.ts";
import { Engine } from "./engine/engine.svelte.ts";
import type { ModelChoice } from "./engine/choice.ts";
import { warmUp } from "./markdown/warm.ts";
import { keepOffline } from "./offline/register.ts";
import { Preferences } from "./settings/preferences.svelte.ts";
import { RequestLog } from "./tools/requests.svelte.ts";

export type Panel = "models" | "settings" | "tools" | "requests" | "shortcuts";

/** Something short to tell, with what can be done about it. */
export interface Notice {
  text: string;
  undo?: () => Promise<void> | void;
  reload?: () => void;
}

const NOTICE_MS = 7_000;

/** The page's state, whole: what components are given. */
export class App {
  readonly preferences = new Preferences();
  readonly library = new Library(() => this.preferences.usual);
  readonly requests = new RequestLog(this.library);
  readonly engine = new Engine(this.requests);
  readonly chat = new Chat(this.library, this.engine, this.requests);
  /** The panel that lies over the page. */
  panel = $state<Panel>();
  /** The list of conversations, where it lies over the page. */
  drawer = $state(false);
  /** Ask the person for a model's files, or for its folder: `FilePickers` says how. */
  pickFiles: () => void = () => undefined;
  pickFolder: () => void = () => undefined;
  /** The address that a link in a reply leads to, while the person is asked about it. */
  link = $state<string>();
  notice = $state.raw<Notice>();
  #notice_timer: ReturnType<typeof setTimeout> | undefined;

  /** Reads what is stored, and loads the model behind the page. */
  start(): void {
    void this.library.open(location.hash.slice(1) || null).then(() => this.requests.open());
    void this.engine.load(this.preferences.model).then(() => {
      requestIdleCallback(warmUp);
      // After the model: it is fetched once then, and kept as it came.
      return keepOffline((reload) => this.tell({ text: "A newer version of this page is here", reload }));
    });
  }

  /** Loads a model, and remembers it where it can be found again. */
  async choose(choice: ModelChoice): Promise<void> {
    if (this.chat.writing) this.chat.stop();
    if (choice.source.kind !== "files") {
      this.preferences.model = choice;
      this.preferences.save();
    }
    await this.engine.load(choice);
  }

  tell(notice: Notice): void {
    clearTimeout(this.#notice_timer);
    this.notice = notice;
    if (!notice.reload) this.#notice_timer = setTimeout(() => (this.notice = undefined), NOTICE_MS);
  }

  dismissNotice(): void {
    clearTimeout(this.#notice_timer);
    this.notice = undefined;
  }
}

const KEY = Symbol("app");

export function provideApp(app: App): App {
  return setContext(KEY, app);
}

export function useApp(): App {
  return getContext<App>(KEY);
}
