/** Work that is put off until its element comes near the part of the page that is seen. */

import { inFrames } from "./frames";

const NEAR = "400px";

/** What waits, by its element. One observer for all of them: each costs something in every frame. */
const waiting = new Map<Element, () => void>();
let observer: IntersectionObserver | undefined;

/** Calls `run` in a slice of a frame once `element` is near; returns what takes it back. An element waits for one thing. */
export function whenNear(element: Element, run: () => void): () => void {
  let takeBack = (): void => forget(element);
  const start = (): void => {
    takeBack = inFrames(() => {
      run();
      return false;
    });
  };
  if (typeof IntersectionObserver === "undefined") start();
  else {
    observer ??= new IntersectionObserver(startNear, { rootMargin: NEAR });
    waiting.set(element, start);
    observer.observe(element);
  }
  return () => takeBack();
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
