// A static server on loopback, with the headers that threads need.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };

/** `mounts`: URL prefix -> folder, the longest prefix first where several fit. `onFile` hears of every file sent; `board` takes what
 * is no file. */
export async function serve(mounts, onFile, board) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length);
  const server = http.createServer(async (request, response) => {
    if (await board.take(request, response)) return;
    const { pathname } = new URL(request.url, 'http://localhost');
    const prefix = prefixes.find((p) => pathname.startsWith(p));
    const file = prefix && path.join(mounts[prefix], decodeURIComponent(pathname.slice(prefix.length)));
    const size = file && fs.statSync(file, { throwIfNoEntry: false })?.size;
    const headers = {
      'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cache-Control': 'no-store',
      'Content-Type': TYPES[path.extname(file ?? '')] ?? 'application/octet-stream', 'Accept-Ranges': 'bytes',
    };
    if (!size) return void response.writeHead(404, headers).end();
    onFile(file);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const [start, end] = range ? [Number(range[1]), Math.min(size - 1, range[2] ? Number(range[2]) : size - 1)] : [0, size - 1];
    response.writeHead(range ? 206 : 200, { ...headers, 'Content-Length': end - start + 1, ...(range ? { 'Content-Range': `bytes ${start}-${end}/${size}` } : {}) });
    if (request.method === 'HEAD') response.end();
    else fs.createReadStream(file, { start, end }).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
