import { expect, test } from "vitest";
import { streamOf } from "./stream";
import { conversation, RUNNING } from "./testing";

const piece = (number: number, text: string, reasoning = "") => ({ event: "piece", data: { number, text, reasoning } });

test("an answer is put together from its pieces", () => {
  const { kernel, host } = conversation();
  const stream = streamOf(host);
  kernel.tell("chat", { set: { running: RUNNING } }, piece(1, "", "hm"), piece(2, "one"), piece(3, " two"));
  expect([stream.text.value, stream.reasoning.value]).toEqual(["one two", "hm"]);
  kernel.set("chat", { running: null });
  expect(stream.text.value).toBe("");
});

test("who comes later goes on from what was told so far", () => {
  const { kernel, host } = conversation([], { running: { ...RUNNING, pieces: 2, text: "one two" } });
  const stream = streamOf(host);
  kernel.tell("chat", piece(2, " two"), piece(3, " three"));
  expect(stream.text.value).toBe("one two three");
});

test("a page that has missed a piece asks for all of it, and takes nothing in between", () => {
  const { kernel, host } = conversation([], { running: RUNNING });
  const stream = streamOf(host);
  kernel.tell("chat", piece(1, "one"), piece(3, " three"));
  expect(kernel.calls.map(({ call }) => call)).toEqual(["sync"]);
  expect(stream.text.value).toBe("one");
  kernel.set("chat", { running: { ...RUNNING, pieces: 3, text: "one two three" } });
  kernel.tell("chat", piece(4, " four"));
  expect(stream.text.value).toBe("one two three four");
});

test("all views of a panel in a page have one stream", () => {
  const { host } = conversation();
  expect(streamOf(host)).toBe(streamOf(host));
});
