/** The pair that ships, by file name: see vite.config.ts. */
declare const __PAIR__: { target: string; draft: string | null } | null;
