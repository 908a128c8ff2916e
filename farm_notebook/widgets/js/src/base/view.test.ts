import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeKernel } from "../testing";
import { Host } from "./host";
import { AGAIN_MS, FIRST_RETRY_MS, View } from "./view";

let kernel: FakeKernel;
let view: View;

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new FakeKernel(["one", "two"]);
  view = new View(new Host(kernel), document.body);
});

afterEach(() => {
  view.dispose();
  vi.useRealTimers();
});

const live = () => {
  kernel.tell("one", { state: {} });
  kernel.tell("two", { state: {} });
  kernel.sent.length = 0;
};

test("a view says hello, and what it shows", () => {
  expect(kernel.sent).toEqual([{ view: view.id, shows: ["one", "two"], hello: true }]);
});

test("a hello that is not answered is said again, ever more seldom", () => {
  vi.advanceTimersByTime(FIRST_RETRY_MS);
  expect(kernel.sent).toHaveLength(2);
  vi.advanceTimersByTime(2 * FIRST_RETRY_MS - 1);
  expect(kernel.sent).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(kernel.sent).toHaveLength(3);
});

test("a live view says that it is there, so that the kernel does not forget it", () => {
  live();
  vi.advanceTimersByTime(AGAIN_MS * 2);
  expect(kernel.sent.at(-1)).toEqual({ view: view.id, shows: ["one", "two"] });
});

test("a page in the background shows nothing", () => {
  live();
  const state = vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  document.dispatchEvent(new Event("visibilitychange"));
  expect(kernel.sent).toEqual([{ view: view.id, shows: [] }]);
  state.mockReturnValue("visible");
  document.dispatchEvent(new Event("visibilitychange"));
  expect(kernel.sent.at(-1)).toEqual({ view: view.id, shows: ["one", "two"] });
});

test("a view with tabs shows the parts of the open one", () => {
  live();
  view.laidOut.value = ["two"];
  expect(kernel.sent).toEqual([{ view: view.id, shows: ["two"] }]);
});

test("a view that ends says goodbye, and nothing after it", () => {
  view.dispose();
  vi.advanceTimersByTime(AGAIN_MS * 3);
  expect(kernel.sent.at(-1)).toEqual({ view: view.id, bye: true });
});
