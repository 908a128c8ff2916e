import { afterEach, expect, test, vi } from "vitest";
import { watchVisibility } from "./visibility";

let look: (entries: { isIntersecting: boolean }[]) => void;
const disconnect = vi.fn();

class FakeObserver {
  constructor(callback: typeof look) {
    look = callback;
  }
  observe(): void {}
  disconnect = disconnect;
}

afterEach(() => vi.unstubAllGlobals());

test("an element is visible while it is on the screen of a page that is in front", () => {
  vi.stubGlobal("IntersectionObserver", FakeObserver);
  const told: boolean[] = [];
  const end = watchVisibility(document.body, (isVisible) => told.push(isVisible));
  expect(told).toEqual([false]);
  look([{ isIntersecting: true }]);
  look([{ isIntersecting: true }]);
  expect(told).toEqual([false, true]);
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  document.dispatchEvent(new Event("visibilitychange"));
  expect(told).toEqual([false, true, false]);
  end();
  expect(disconnect).toHaveBeenCalled();
});

test("where the browser cannot tell, an element counts as on the screen", () => {
  vi.stubGlobal("IntersectionObserver", undefined);
  const told: boolean[] = [];
  watchVisibility(document.body, (isVisible) => told.push(isVisible))();
  expect(told).toEqual([true]);
});
