/** Keeps the end of what grows in view, but only while the reader is there. */

import { signal, type ReadonlySignal } from "@preact/signals";

/** As far from the end as still counts as at the end. */
export const NEAR_PX = 24;

const AWAY_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);

/** Follows the end of one scrolling element.
 *
 * A reader who moves away is left alone at once, before the browser has scrolled; coming back to the end, by whatever
 * means, follows again. Where the reader is away, the browser keeps in place what is read (`overflow-anchor`).
 */
export class Follower {
  readonly #isAtEnd = signal(true);
  readonly #ending = new AbortController();
  readonly #sizes: ResizeObserver | undefined;
  #top = 0;
  #height = 0;
  #touchY: number | undefined;
  #isHeld = false; // the pointer is down: text is being selected, or the scroll bar is held

  constructor(
    private readonly scroller: HTMLElement,
    content: Element,
  ) {
    const listen = <K extends keyof HTMLElementEventMap>(name: K, take: (event: HTMLElementEventMap[K]) => void): void =>
      scroller.addEventListener(name, take, { passive: true, signal: this.#ending.signal });
    listen("scroll", () => this.#look());
    listen("wheel", (event) => event.deltaY < 0 && this.#leave());
    listen("keydown", (event) => isAway(event) && this.#leave());
    listen("touchstart", (event) => (this.#touchY = event.touches[0]?.clientY));
    listen("touchmove", (event) => this.#touch(event.touches[0]?.clientY));
    listen("pointerdown", (event) => (this.#isHeld = event.pointerType === "mouse"));
    for (const name of ["pointerup", "pointercancel"] as const) {
      window.addEventListener(name, () => this.#release(), { signal: this.#ending.signal });
    }
    this.#sizes = typeof ResizeObserver === "undefined" ? undefined : new ResizeObserver(() => this.#follow());
    this.#sizes?.observe(content);
    this.#sizes?.observe(scroller);
    this.#follow();
  }

  /** Whether the end is in view and followed. */
  get isAtEnd(): ReadonlySignal<boolean> {
    return this.#isAtEnd;
  }

  /** Go to the end and follow it. */
  jumpToEnd(): void {
    this.#isAtEnd.value = true;
    this.#isHeld = false;
    this.#follow();
  }

  dispose(): void {
    this.#ending.abort();
    this.#sizes?.disconnect();
  }

  #follow(): void {
    if (this.#isAtEnd.peek() && !this.#isHeld) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#remember();
  }

  #look(): void {
    const { scrollTop, scrollHeight } = this.scroller;
    const isNear = this.#distance() <= NEAR_PX;
    // Content that has become shorter moves the page up too, and nobody has left.
    const hasMovedUp = scrollTop < this.#top - 1 && scrollHeight >= this.#height;
    if (hasMovedUp && !isNear) this.#isAtEnd.value = false;
    else if (isNear && scrollTop >= this.#top) this.#isAtEnd.value = true;
    this.#remember();
  }

  #touch(y: number | undefined): void {
    if (y !== undefined && this.#touchY !== undefined && y > this.#touchY) this.#leave();
    this.#touchY = y;
  }

  #leave(): void {
    if (this.scroller.scrollHeight > this.scroller.clientHeight) this.#isAtEnd.value = false;
  }

  #release(): void {
    this.#isHeld = false;
    if (this.#distance() > NEAR_PX && getSelection()?.isCollapsed === false) this.#isAtEnd.value = false;
    this.#follow();
  }

  #remember(): void {
    this.#top = this.scroller.scrollTop;
    this.#height = this.scroller.scrollHeight;
  }

  #distance(): number {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - clientHeight - scrollTop;
  }
}

function isAway(event: KeyboardEvent): boolean {
  const isTyping = event.target instanceof HTMLElement && event.target.closest("textarea, input, [contenteditable]");
  return !isTyping && (AWAY_KEYS.has(event.key) || (event.key === " " && event.shiftKey));
}
