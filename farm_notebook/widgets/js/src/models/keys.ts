/** Going through the list by keys: up and down from line to line, right and left to what can be done with one. */

/** Lines that can be gone to carry this attribute, and what can be done with one stands in the same `li`. */
export const STOP = "data-stop";

const STEPS: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };

/** Whether a key is one to search with: `/`, except where it is typed, and that of the browser's own search. */
export function isFind(event: KeyboardEvent, search: HTMLElement | null): boolean {
  if (event.key.toLowerCase() === "f" && (event.ctrlKey || event.metaKey)) return true;
  return event.key === "/" && event.target !== search && !event.ctrlKey && !event.metaKey && !event.altKey;
}

/** Move the focus as a key says; whether it was one of these keys. `out` is where one gets above the first line. */
export function moveFocus(event: KeyboardEvent, list: HTMLElement, out: HTMLElement | null): boolean {
  const from = event.target instanceof HTMLElement ? event.target : null;
  if (!from || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") return sideways(event.key === "ArrowRight", from);
  const stops = [...list.querySelectorAll<HTMLElement>(`[${STOP}]`)];
  const at = stops.indexOf(from.closest("li, header")?.querySelector<HTMLElement>(`[${STOP}]`) ?? from);
  const to = { Home: 0, End: stops.length - 1 }[event.key] ?? at + (STEPS[event.key] ?? Number.NaN);
  if (Number.isNaN(to)) return false;
  if (to < 0 && at <= 0) out?.focus();
  else focus(stops[Math.max(0, Math.min(stops.length - 1, to))]);
  return true;
}

/** Focus the first line. */
export function enterList(list: HTMLElement): void {
  focus(list.querySelector<HTMLElement>(`li [${STOP}]`) ?? list.querySelector<HTMLElement>(`[${STOP}]`) ?? undefined);
}

function sideways(isRight: boolean, from: HTMLElement): boolean {
  const isOpen = from.getAttribute("aria-expanded");
  if (isOpen !== null) {
    if ((isOpen === "true") !== isRight) from.click();
    return true;
  }
  const row = from.closest("li");
  const places = [...(row?.querySelectorAll<HTMLElement>("button:not(:disabled)") ?? [])];
  const next = places[places.indexOf(from) + (isRight ? 1 : -1)];
  next?.focus();
  return row !== null;
}

function focus(element: HTMLElement | undefined): void {
  element?.focus({ preventScroll: true });
  element?.scrollIntoView?.({ block: "nearest" });
}
