/** What is wider than its place can be scrolled with the keyboard, and is a stop for it only then. */

import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

let observer: ResizeObserver | undefined;
const labels = new WeakMap<Element, string>();

export function useScrollable(element: RefObject<HTMLElement | null>, label: string): void {
  useEffect(() => {
    const watched = element.current;
    if (!watched || typeof ResizeObserver === "undefined") return undefined;
    observer ??= new ResizeObserver((entries) => entries.forEach(({ target }) => look(target as HTMLElement)));
    labels.set(watched, label);
    observer.observe(watched);
    if (watched.firstElementChild) observer.observe(watched.firstElementChild);
    return () => {
      observer?.unobserve(watched);
      if (watched.firstElementChild) observer?.unobserve(watched.firstElementChild);
    };
  }, []);
}

function look(target: HTMLElement): void {
  const frame = labels.has(target) ? target : target.parentElement;
  const label = frame ? labels.get(frame) : undefined;
  if (!frame || label === undefined) return;
  if (frame.scrollWidth > frame.clientWidth) {
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", label);
  } else for (const name of ["tabindex", "role", "aria-label"]) frame.removeAttribute(name);
}
