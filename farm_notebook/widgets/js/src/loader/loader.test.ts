import type { AnyModel, InitializeProps, RenderProps } from "@anywidget/types";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeKernel } from "../testing";
import { FIRST_RETRY_MS, loader } from "./loader";

/** A widget's model that tells the id of its script. */
class Widget extends FakeKernel {
  constructor(readonly script: string) {
    super(["toy"]);
  }

  override get(name: string): unknown {
    return name === "script_id" ? `toy-${this.script}` : super.get(name);
  }

  get asked(): number {
    return this.sent.filter((each) => each["wants"] === "script").length;
  }

  answer(): void {
    this.trigger("msg:custom", { script: this.script });
  }
}

const imported: string[] = [];
const begun: string[] = [];
const drawn: string[] = [];
const ended: string[] = [];

/** What anywidget does with a loader: call it once a widget, initialize it, and render each view. */
async function widget(kernel: Widget) {
  const make = loader(async (script) => {
    imported.push(script);
    const initialize = () => {
      begun.push(script);
      return () => void ended.push(script);
    };
    return { default: () => ({ initialize, render: () => void drawn.push(script) }) };
  });
  const definition = await (make as () => Promise<{ initialize: Function; render: Function }>)();
  const model = kernel as unknown as AnyModel;
  const life = new AbortController();
  const whole = definition.initialize({ model, signal: life.signal } as InitializeProps);
  expect(whole).toBeUndefined(); // anywidget holds messages back until it has ended
  return {
    render: () => definition.render({ model, el: document.body } as RenderProps),
    end: () => life.abort(),
  };
}

let count = 0;
const freshScript = () => `script ${++count}`; // the page remembers scripts

beforeEach(() => {
  vi.useFakeTimers();
  for (const each of [imported, begun, drawn, ended]) each.length = 0;
});
afterEach(() => vi.useRealTimers());

test("the script is asked for once, and draws every view", async () => {
  const kernel = new Widget(freshScript());
  const made = await widget(kernel);
  expect(kernel.asked).toBe(0);
  const views = Promise.all([made.render(), made.render()]);
  expect(kernel.asked).toBe(1);
  kernel.answer();
  await views;
  expect(imported).toEqual([kernel.script]);
  expect(drawn).toEqual([kernel.script, kernel.script]);
  expect(kernel.listeners("msg:custom")).toBe(0);
});

test("the panel begins once for all of its views, and ends with the widget", async () => {
  const kernel = new Widget(freshScript());
  const made = await widget(kernel);
  const views = Promise.all([made.render(), made.render()]);
  kernel.answer();
  await views;
  expect(begun).toEqual([kernel.script]);
  expect(ended).toEqual([]);
  made.end();
  expect(ended).toEqual([kernel.script]);
});

test("a kernel that does not answer is asked again, more and more rarely, and no more once it has", async () => {
  const kernel = new Widget(freshScript());
  const view = (await widget(kernel)).render();
  vi.advanceTimersByTime(FIRST_RETRY_MS);
  expect(kernel.asked).toBe(2);
  vi.advanceTimersByTime(FIRST_RETRY_MS);
  expect(kernel.asked).toBe(2);
  vi.advanceTimersByTime(FIRST_RETRY_MS);
  expect(kernel.asked).toBe(3);
  kernel.answer();
  await view;
  vi.advanceTimersByTime(60_000);
  expect(kernel.asked).toBe(3);
});

test("what another widget of the page has loaded is not asked for again", async () => {
  const script = freshScript();
  const first = new Widget(script);
  const view = (await widget(first)).render();
  first.answer();
  await view;
  const second = new Widget(script);
  await (await widget(second)).render();
  expect(second.asked).toBe(0);
  expect(imported).toEqual([script]);
  expect(drawn).toEqual([script, script]);
});

test("a widget whose kernel never answers does not keep another from its script", async () => {
  const script = freshScript();
  void (await widget(new Widget(script))).render();
  const alive = new Widget(script);
  const view = (await widget(alive)).render();
  alive.answer();
  await view;
  expect(drawn).toEqual([script]);
});

test("a widget that is gone asks no more", async () => {
  const kernel = new Widget(freshScript());
  void (await widget(kernel)).render();
  kernel.trigger("destroy");
  vi.advanceTimersByTime(60_000);
  expect(kernel.asked).toBe(1);
});
