import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeKernel } from "../testing";
import { BUSY_MS, CallError, Host } from "./host";

let kernel: FakeKernel;
let host: Host;

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new FakeKernel(["one", "two"]);
  host = new Host(kernel);
});

afterEach(() => {
  vi.useRealTimers();
});

const outcome = (call: Promise<void>) => call.then(() => "done", (error: CallError) => error.problem.title);

test("slices are what the kernel told last", () => {
  const text = host.part("one").slice("text");
  expect(text.value).toBeUndefined();
  kernel.set("one", { text: "a" });
  kernel.set("two", { text: "of another" });
  kernel.tell("one", { set: { text: "b" } }, { set: { text: "c" } });
  expect(text.value).toBe("c");
});

test("a panel is live once every part has told its whole state", () => {
  kernel.set("one", { text: "a" });
  kernel.tell("one", { state: {} });
  expect(host.connection.value).toBe("waiting");
  kernel.tell("two", { state: {} });
  expect(host.connection.value).toBe("live");
});

test("a call resolves when the kernel says that it is done", async () => {
  const call = host.part("one").call("load", { model: "m" });
  expect(kernel.calls).toMatchObject([{ part: "one", call: "load", args: { model: "m" } }]);
  kernel.done();
  expect(await outcome(call)).toBe("done");
});

test("a call rejects with what the kernel tells of its error", async () => {
  const call = host.part("one").call("load");
  kernel.done({ title: "No", message: "it is not there", fix: null });
  expect(await outcome(call)).toBe("No");
});

test("calls have names that no other page and no other call has", () => {
  host.part("one").call("load").catch(() => undefined);
  host.part("one").call("load").catch(() => undefined);
  new Host(kernel).part("two").call("load").catch(() => undefined);
  expect(new Set(kernel.calls.map((each) => each.id)).size).toBe(3);
});

test("what is done for another page ends no call here", async () => {
  const call = host.part("one").call("load");
  kernel.tell("one", { done: "other-one-1", error: null });
  const first = await Promise.race([outcome(call), Promise.resolve("still waiting")]);
  expect(first).toBe("still waiting");
});

test("a kernel that does not hear a call is busy, until it does", () => {
  const part = host.part("one");
  part.call("load").catch(() => undefined);
  vi.advanceTimersByTime(BUSY_MS - 1);
  expect(part.isBusy.value).toBe(false);
  vi.advanceTimersByTime(1);
  expect(part.isBusy.value).toBe(true);
  kernel.tell("one", { ack: kernel.calls[0]?.id });
  expect(part.isBusy.value).toBe(false);
});

test("a call that was heard may take long", () => {
  const part = host.part("one");
  part.call("load").catch(() => undefined);
  kernel.tell("one", { ack: kernel.calls[0]?.id });
  vi.advanceTimersByTime(60 * BUSY_MS);
  expect(part.isBusy.value).toBe(false);
});

test("events come in order, and no more once nobody listens", () => {
  const heard: string[] = [];
  const end = host.part("one").on<{ text: string }>("piece", ({ text }) => heard.push(text));
  kernel.tell("one", { event: "piece", data: { text: "a" } }, { event: "piece", data: { text: "b" } });
  end();
  kernel.tell("one", { event: "piece", data: { text: "c" } });
  expect(heard).toEqual(["a", "b"]);
});

test("the error of work that nobody called for is kept until it is dismissed", () => {
  kernel.tell("one", { event: "problem", data: { title: "No", message: "m", fix: null } });
  expect(host.part("one").problem.value?.title).toBe("No");
});

test("with the kernel go the calls under way, and new ones fail at once", async () => {
  const part = host.part("one");
  const call = part.call("load");
  vi.advanceTimersByTime(BUSY_MS);
  kernel.trigger("comm_live_update");
  expect(host.connection.value).toBe("gone");
  expect(part.isBusy.value).toBe(false);
  expect(await outcome(call)).toBe("The kernel is gone");
  expect(await outcome(part.call("load"))).toBe("The kernel is gone");
});

test("a kernel that is heard of again is live", () => {
  kernel.trigger("comm_live_update");
  kernel.tell("one", { state: {} });
  expect(host.connection.value).toBe("gone");
  kernel.tell("two", { state: {} });
  expect(host.connection.value).toBe("live");
});

test("a host that is disposed of listens no more", () => {
  host.dispose();
  expect(["msg:custom", "comm_live_update", "destroy"].map((event) => kernel.listeners(event))).toEqual([0, 0, 0]);
});

test("an unknown part is an error that lists those there are", () => {
  expect(() => host.part("three")).toThrow("it has one, two");
});
