/** Work that is put off until its element comes near the part of the page that is seen. */

import { inFrames } from "./frames";

const NEAR = "400px";
const LATEST_MS = 300;

/** What waits, by its element. One observer for all of them: each costs something in every frame. */
const waiting = new Map<Element, () => void>();
let observer: IntersectionObserver | undefined;

/** Calls `run` once `element` is near and the page has time; returns what takes it back. An element waits for one thing. */
export function whenNear(element: Element, run: () => void): () => void {
  let takeBack = (): void => forget(element);
  const start = (): void => {
    takeBack = whenIdle(run);
  };
  if (typeof IntersectionObserver === "undefined") start();
  else {
    observer ??= new IntersectionObserver(startNear, { rootMargin: NEAR });
    waiting.set(element, start);
    observer.observe(element);
  }
  return () => takeBack();
}

/** Between frames, so that none is late for it; in a slice of one where the browser does not tell when that is. */
function whenIdle(run: () => void): () => void {
  if (typeof requestIdleCallback === "undefined") {
    return inFrames(() => {
      run();
      return false;
    });
  }
  const idle = requestIdleCallback(run, { timeout: LATEST_MS });
  return () => cancelIdleCallback(idle);
}

function startNear(entries: readonly IntersectionObserverEntry[]): void {
  for (const { target, isIntersecting } of entries) {
    const start = isIntersecting ? waiting.get(target) : undefined;
    if (!start) continue;
    forget(target);
    start();
  }
}

function forget(element: Element): void {
  waiting.delete(element);
  observer?.unobserve(element);
}
