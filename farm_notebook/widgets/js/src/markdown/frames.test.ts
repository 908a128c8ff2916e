import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { inFrames, SLICE_MS } from "./frames";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const nextFrame = (): unknown => vi.advanceTimersToNextFrame();

it("goes on in later frames while there is more to do", () => {
  const slices = [true, true, false];
  const job = vi.fn(() => slices.shift() ?? false);
  inFrames(job);
  expect(job).not.toHaveBeenCalled();
  for (let count = 0; count < 5; count += 1) nextFrame();
  expect(job).toHaveBeenCalledTimes(3);
});

it("leaves to the next frame what this one has no time for, the last that came first", () => {
  const done: string[] = [];
  for (const name of ["old", "new"]) {
    inFrames(() => {
      done.push(name);
      vi.advanceTimersByTime(SLICE_MS + 1);
      return false;
    });
  }
  nextFrame();
  expect(done).toEqual(["new"]);
  for (let count = 0; count < 3; count += 1) nextFrame();
  expect(done).toEqual(["new", "old"]);
});

it("does nothing that was taken back", () => {
  const job = vi.fn(() => false);
  inFrames(job)();
  nextFrame();
  expect(job).not.toHaveBeenCalled();
});

it("works without frames too, as in a page that is not in front", () => {
  vi.stubGlobal("requestAnimationFrame", () => 0);
  const job = vi.fn(() => false);
  inFrames(job);
  vi.advanceTimersByTime(1_000);
  expect(job).toHaveBeenCalledOnce();
  vi.unstubAllGlobals();
});
