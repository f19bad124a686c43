/**
 * The document in which a tool's code runs. It is written into the frame and not fetched, so
 * that tools work without the page's server. Such a frame is under the page's policy and this
 * one: what runs in it reaches nothing, since no source is named but blobs for its worker, and
 * an opaque origin has no storage.
 */

/**
 * One message, from the page that made the frame: a tool's code, its arguments and the port
 * that is all it has of the world. The code runs in a worker, which has no document to send
 * elsewhere and no WebRTC.
 */
export const SCRIPT = `
"use strict";
addEventListener("message", function begin(event) {
  if (event.source !== parent || event.ports.length !== 1) return;
  removeEventListener("message", begin);
  const { harness, code, args } = event.data;
  const source = new Blob([harness, "\\n", code], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(source));
  worker.onerror = (error) => {
    error.preventDefault();
    parent.postMessage({ failed: String(error.message || "the tool's code does not run") }, "*");
  };
  worker.postMessage({ args }, [event.ports[0]]);
});
parent.postMessage({ ready: true }, "*");
`;

/** Names `SCRIPT` alone among all scripts: here, and in the page's policy (`xtask/src/http.rs`),
 * which the frame is under too. */
export const SCRIPT_HASH = "sha256-wxDo4SZAkfbq9BG3Hsd2XymBk56P9JvC+LPsF6YwviU=";

export const TOOL_DOCUMENT = `<!doctype html>
<meta charset="utf-8" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '${SCRIPT_HASH}'; worker-src blob:; base-uri 'none'; form-action 'none'" />
<script>${SCRIPT}</script>`;
