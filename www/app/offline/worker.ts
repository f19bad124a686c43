/**
 * The service worker: the page as it was built, kept whole, so that a second visit needs no
 * server. Versions do not mix: a page runs on the files it was built with until a new
 * version has been fetched whole and the person reloads.
 */
const worker = self as unknown as ServiceWorkerGlobalScope;

/** What the build wrote, and a hash of it: filled in by `vite.config.ts`. */
declare const __BUILD__: { version: string; files: readonly string[] };

const CACHE = `tandem-${__BUILD__.version}`;
const home = new URL("./", worker.location.href);
const kept = new Set(__BUILD__.files.map((file) => new URL(file, home).href));

worker.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then(async (cache) => {
      for (const url of kept) await cache.add(new Request(url, { cache: "no-cache" }));
    }),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys().then(async (names) => {
      const old = names.filter((name) => name.startsWith("tandem-") && name !== CACHE);
      await Promise.all(old.map((name) => caches.delete(name)));
      await worker.clients.claim();
    }),
  );
});

worker.addEventListener("message", (event) => {
  if (event.data === "take over") void worker.skipWaiting();
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  url.search = url.hash = "";
  const file = url.href === home.href ? new URL("index.html", home).href : url.href;
  if (request.method === "GET" && kept.has(file)) event.respondWith(answer(request, file));
});

async function answer(request: Request, file: string): Promise<Response> {
  const whole = await caches.match(file, { cacheName: CACHE });
  // The browser may have thrown it away to make room.
  if (!whole) return fetch(request);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
  return range ? part(whole, Number(range[1]), range[2] ? Number(range[2]) + 1 : undefined) : whole;
}

/** Models are read in parts, which a cache does not do by itself. */
async function part(whole: Response, start: number, end: number | undefined): Promise<Response> {
  const bytes = await whole.blob();
  const headers = new Headers(whole.headers);
  if (start >= bytes.size) {
    headers.set("Content-Range", `bytes */${bytes.size}`);
    return new Response(null, { status: 416, headers });
  }
  const piece = bytes.slice(start, end);
  headers.set("Content-Range", `bytes ${start}-${start + piece.size - 1}/${bytes.size}`);
  headers.set("Content-Length", String(piece.size));
  return new Response(piece, { status: 206, headers });
}
