import { afterEach, beforeEach, expect, test, vi } from "vitest";

type Tell = (entries: { target: Element; isIntersecting: boolean }[]) => void;

/** Stands for the browser's, and tells what it is told to. */
class Observer {
  static made: Observer[] = [];
  readonly observed = new Set<Element>();

  constructor(readonly tell: Tell) {
    Observer.made.push(this);
  }

  observe(element: Element): void {
    this.observed.add(element);
  }

  unobserve(element: Element): void {
    this.observed.delete(element);
  }
}

let frames: (() => void)[] = [];
const runFrames = (): void => frames.splice(0).forEach((run) => run());

beforeEach(() => {
  Observer.made = [];
  frames = [];
  vi.resetModules();
  vi.stubGlobal("IntersectionObserver", Observer);
  vi.stubGlobal("requestAnimationFrame", (run: () => void) => frames.push(run));
  vi.stubGlobal("cancelAnimationFrame", () => undefined);
});

afterEach(() => vi.unstubAllGlobals());

async function waiting(count: number) {
  const { whenNear } = await import("./near");
  const elements = Array.from({ length: count }, () => document.createElement("pre"));
  const runs = elements.map(() => vi.fn());
  const takeBacks = elements.map((each, index) => whenNear(each, runs[index] as () => void));
  return { elements, runs, takeBacks };
}

test("many elements share one observer, and each is done once when it is near", async () => {
  const { elements, runs } = await waiting(3);
  expect(Observer.made).toHaveLength(1);
  const [observer] = Observer.made as [Observer];
  observer.tell([
    { target: elements[0] as Element, isIntersecting: false },
    { target: elements[1] as Element, isIntersecting: true },
  ]);
  observer.tell([{ target: elements[1] as Element, isIntersecting: true }]);
  runFrames();
  expect(runs.map((each) => each.mock.calls.length)).toEqual([0, 1, 0]);
  expect([...observer.observed]).toEqual([elements[0], elements[2]]);
});

test("what was taken back is not done, neither before nor after it came near", async () => {
  const { elements, runs, takeBacks } = await waiting(2);
  const [observer] = Observer.made as [Observer];
  takeBacks[0]?.();
  observer.tell(elements.map((target) => ({ target, isIntersecting: true })));
  takeBacks[1]?.();
  runFrames();
  expect(runs.map((each) => each.mock.calls.length)).toEqual([0, 0]);
  expect(observer.observed.size).toBe(0);
});

test("without an observer it is done in the next frame", async () => {
  vi.stubGlobal("IntersectionObserver", undefined);
  const { runs } = await waiting(1);
  expect(runs[0]).not.toHaveBeenCalled();
  runFrames();
  expect(runs[0]).toHaveBeenCalledOnce();
});

test("where the browser tells when it has time, it is done then", async () => {
  const idle: (() => void)[] = [];
  vi.stubGlobal("requestIdleCallback", (run: () => void) => idle.push(run));
  vi.stubGlobal("cancelIdleCallback", (number: number) => idle.splice(number - 1, 1));
  const { elements, runs, takeBacks } = await waiting(2);
  Observer.made[0]?.tell(elements.map((target) => ({ target, isIntersecting: true })));
  takeBacks[1]?.();
  runFrames();
  expect(runs[0]).not.toHaveBeenCalled();
  idle.forEach((run) => run());
  expect(runs.map((each) => each.mock.calls.length)).toEqual([1, 0]);
});
