/** Has the page kept for visits without a network; `onNew` hears of a newer version, with
 * what brings it in. */
export async function keepOffline(onNew: (takeOver: () => void) => void): Promise<void> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  const workers = navigator.serviceWorker;
  const registration = await workers.register("./service-worker.js");
  const offer = (worker: ServiceWorker | null) => {
    // The first version has nothing to take over from.
    if (!worker || !workers.controller) return;
    onNew(() => {
      workers.addEventListener("controllerchange", () => location.reload(), { once: true });
      worker.postMessage("take over");
    });
  };
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => {
      if (worker.state === "installed") offer(worker);
    });
  });
}
