import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Follower } from "./follow";

/** An element with sizes; `grow` is what the browser would tell. */
class Scroller {
  readonly element = document.body.appendChild(document.createElement("div"));
  height = 1_000;

  constructor() {
    Object.defineProperty(this.element, "scrollHeight", { get: () => this.height });
    Object.defineProperty(this.element, "clientHeight", { get: () => 300 });
  }

  get top(): number {
    return this.element.scrollTop;
  }

  grow(pixels: number): void {
    this.height += pixels;
    tellSize();
  }

  scrollTo(top: number): void {
    this.element.scrollTop = top;
    this.element.dispatchEvent(new Event("scroll"));
  }
}

let tellSize: () => void;
let scroller: Scroller;
let follower: Follower;

beforeEach(() => {
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(tell: () => void) {
        tellSize = tell;
      }
      observe(): void {}
      disconnect(): void {}
    },
  );
  scroller = new Scroller();
  follower = new Follower(scroller.element, scroller.element);
});

afterEach(() => {
  follower.dispose();
  scroller.element.remove();
  vi.unstubAllGlobals();
});

describe("Follower", () => {
  it("keeps the end in view", () => {
    scroller.grow(500);
    expect(scroller.top).toBe(1_500);
    expect(follower.isAtEnd.value).toBe(true);
  });

  it.each([
    ["the wheel", () => new WheelEvent("wheel", { deltaY: -10 })],
    ["a key", () => new KeyboardEvent("keydown", { key: "PageUp" })],
    ["Shift and the space bar", () => new KeyboardEvent("keydown", { key: " ", shiftKey: true })],
  ])("lets go at once when %s says so", (_name, event) => {
    scroller.element.dispatchEvent(event());
    expect(follower.isAtEnd.value).toBe(false);
    const before = scroller.top;
    scroller.grow(500);
    expect(scroller.top).toBe(before);
  });

  it("does not let go for the keys of who types", () => {
    const input = scroller.element.appendChild(document.createElement("textarea"));
    input.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
    expect(follower.isAtEnd.value).toBe(true);
  });

  it("lets go when the reader moves away by any other means, and takes up again at the end", () => {
    scroller.scrollTo(700);
    scroller.scrollTo(300);
    expect(follower.isAtEnd.value).toBe(false);
    scroller.scrollTo(690);
    expect(follower.isAtEnd.value).toBe(true);
  });

  it("does not let go when the content becomes shorter", () => {
    scroller.scrollTo(700);
    scroller.height = 800;
    scroller.scrollTo(400);
    expect(follower.isAtEnd.value).toBe(true);
  });

  it("goes back to the end when it is told to", () => {
    scroller.scrollTo(700);
    scroller.scrollTo(100);
    follower.jumpToEnd();
    expect(follower.isAtEnd.value).toBe(true);
    expect(scroller.top).toBe(scroller.height);
  });

  it("holds still while the pointer is down", () => {
    scroller.scrollTo(700);
    const press = Object.assign(new Event("pointerdown"), { pointerType: "mouse" });
    scroller.element.dispatchEvent(press);
    scroller.grow(10);
    expect(scroller.top).toBe(700);
    window.dispatchEvent(new Event("pointerup"));
    expect(scroller.top).toBe(scroller.height);
  });

  it("listens no more once it is disposed of", () => {
    follower.dispose();
    scroller.element.dispatchEvent(new WheelEvent("wheel", { deltaY: -10 }));
    expect(follower.isAtEnd.value).toBe(true);
  });
});
