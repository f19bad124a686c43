/**
 * What runs before a tool's code, in its worker. The walls are the frame's policy and
 * origin; taking names away is only so that code fails early and in words.
 */
export const HARNESS = `"use strict";
(() => {
  const gone = ["fetch", "XMLHttpRequest", "WebSocket", "WebSocketStream", "EventSource", "WebTransport", "importScripts",
    "Worker", "BroadcastChannel", "RTCPeerConnection", "indexedDB", "caches"];
  for (const name of gone) {
    try { Object.defineProperty(self, name, { value: undefined, writable: false, configurable: false }); } catch {}
  }
  self.tool = undefined;
  self.onmessage = ({ data, ports }) => {
    self.onmessage = null;
    const port = ports[0];
    const waiting = new Map();
    let n = 0;
    port.onmessage = ({ data }) => {
      const wanted = waiting.get(data.id);
      waiting.delete(data.id);
      if (!wanted) return;
      if ("response" in data) wanted.resolve(data.response);
      else wanted.reject(new Error(data.refused));
    };
    const ctx = Object.freeze({
      fetch: (request, slots, more) => new Promise((resolve, reject) => {
        const id = n++;
        waiting.set(id, { resolve, reject });
        port.postMessage({ id, request, slots, more });
      }),
    });
    Promise.resolve()
      .then(() => {
        if (typeof self.tool !== "function") throw new Error("the code sets no tool");
        return self.tool(data.args, ctx);
      })
      .then((value) => port.postMessage({ value: value === undefined ? null : value }))
      .catch((error) => port.postMessage({ failed: String((error && error.message) || error) }));
  };
})();
`;
