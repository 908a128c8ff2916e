import axe from "axe-core";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { button, clear, settle, show } from "../testing";
import { ChatPanel } from "./chat";
import type { NotebookCells } from "./notebook";
import { conversation, RUNNING, turn } from "./testing";

const PROBLEM = { title: "No", message: "it <b>broke</b>", fix: "mend it" };
const CODE = "Look:\n\n```python\nx = 1\n```\n";

function open(...[turns, more]: Parameters<typeof conversation>) {
  const { kernel, host } = conversation(turns, more);
  const root = show(<ChatPanel host={host} notebook={null} />);
  return { kernel, host, root, panel: root.querySelector(".farm-chat") as HTMLElement };
}

const field = () => document.querySelector('[aria-label="Your question"]') as HTMLTextAreaElement;

async function type(element: HTMLInputElement | HTMLTextAreaElement, text: string) {
  await settle(() => {
    element.value = text;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

async function press(element: Element, key: string, more: KeyboardEventInit = {}) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, composed: true, ...more });
  await settle(() => element.dispatchEvent(event));
  return event;
}

/** A button of an answer, which is drawn when a frame has time for it. */
const drawn = (name: string) => vi.waitFor(() => button(name), { timeout: 5_000 });

beforeEach(() => vi.stubGlobal("ResizeObserver", undefined));
afterEach(() => {
  clear();
  vi.unstubAllGlobals();
});

test("Enter sends what was written, and the field is empty once it has arrived", async () => {
  const { kernel } = open();
  await type(field(), "hello");
  const event = await press(field(), "Enter");
  expect(event.defaultPrevented).toBe(true);
  expect(kernel.calls.at(-1)).toMatchObject({ call: "send", args: { text: "hello", images: [] } });
  expect(field().value).toBe("hello");
  await settle(() => kernel.done());
  expect(field().value).toBe("");
});

test.each([{ shiftKey: true }, { isComposing: true }])("Enter with %j is a key of the text", async (more) => {
  const { kernel } = open();
  await type(field(), "hello");
  const event = await press(field(), "Enter", more);
  expect(event.defaultPrevented).toBe(false);
  expect(kernel.calls).toEqual([]);
});

test("nothing is sent where nothing was written", async () => {
  const { kernel } = open();
  await type(field(), "  ");
  await press(field(), "Enter");
  await settle(() => button("Send").click());
  expect(kernel.calls).toEqual([]);
});

test("a question that is refused stays in the field, with the reason", async () => {
  const { kernel, root } = open();
  await type(field(), "hello");
  await press(field(), "Enter");
  await settle(() => kernel.done(PROBLEM));
  expect(field().value).toBe("hello");
  expect(root.querySelector('[role="alert"]')?.textContent).toContain("it <b>broke</b>");
});

test("while an answer streams, Enter keeps the text and says why", async () => {
  const { kernel, root } = open([], { running: RUNNING });
  await type(field(), "and then?");
  await press(field(), "Enter");
  expect(kernel.calls).toEqual([]);
  expect(field().value).toBe("and then?");
  expect(root.textContent).toContain("Press Escape to stop it first");
});

test("an answer is shown as it streams, and stays where it is when it has ended", async () => {
  const { kernel, root } = open([turn("one", "1")], { running: RUNNING, note: "Loading the model 25%" });
  expect(root.textContent).toContain("Loading the model 25%");
  await settle(() => kernel.tell("chat", { event: "piece", data: { number: 1, text: "**so far**", reasoning: "" } }));
  await vi.waitFor(() => expect(root.querySelector("strong")?.textContent).toBe("so far"), { timeout: 5_000 });
  expect(root.textContent).not.toContain("Loading the model");
  const before = root.querySelector("strong");
  await settle(() =>
    kernel.set("chat", { running: null, turns: ["turn-1", "turn-9"], "turn-9": turn("go on", "**so far**") }),
  );
  expect(root.querySelector("strong")).toBe(before);
  expect(root.querySelectorAll(".farm-reply-foot")).toHaveLength(2);
});

test.each([
  ["Escape", async () => void (await press(field(), "Escape"))],
  ["the button", async () => settle(() => button("Stop").click())],
])("%s stops an answer", async (_, stop) => {
  const { kernel } = open([], { running: RUNNING });
  await stop();
  expect(kernel.calls.map(({ call }) => call)).toEqual(["stop"]);
});

test("Escape does nothing where nothing streams", async () => {
  const { kernel } = open([turn("one", "1")]);
  await press(field(), "Escape");
  expect(kernel.calls).toEqual([]);
});

test("the last answer can be asked for again", async () => {
  const { kernel } = open([turn("one", "1"), turn("two", "2")]);
  await settle(() => button("Ask again").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "retry", args: { turn: "turn-2" } });
});

test("what is asked anew hides what came after it until there is an answer", async () => {
  const { root } = open([turn("one", "1"), turn("two", "2"), turn("three", "3")], { running: { ...RUNNING, keep: 1 } });
  expect([...root.querySelectorAll(".farm-bubble")].map((each) => each.textContent)).toEqual(["one", "go on"]);
});

test("a question is asked in other words", async () => {
  const { kernel, root } = open([turn("one", "1"), turn("two", "2")]);
  await settle(() => (root.querySelector('[aria-label="Edit the question"]') as HTMLElement).click());
  expect(root.textContent).toContain("The question after it will be forgotten.");
  const words = document.querySelector('[aria-label="The question in other words"]') as HTMLTextAreaElement;
  expect(document.activeElement).toBe(words);
  await type(words, "other");
  await press(words, "Enter");
  expect(kernel.calls.at(-1)).toMatchObject({ call: "edit", args: { turn: "turn-1", text: "other" } });
  await settle(() => kernel.done());
  expect(root.querySelector(".farm-editing")).toBeNull();
});

test("Escape leaves the question as it is, and stops nothing", async () => {
  const { kernel, root } = open([turn("one", "1")]);
  await settle(() => button("Edit the question").click());
  await press(document.activeElement as Element, "Escape");
  expect(root.querySelector(".farm-editing")).toBeNull();
  expect(kernel.calls).toEqual([]);
});

test("an answer that broke off says why, and can be asked for again", async () => {
  const { kernel, root } = open([turn("one", "so f", { problem: PROBLEM })]);
  expect(root.querySelector('[role="alert"]')?.textContent).toContain("mend it");
  await settle(() => button("Retry").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "retry", args: { turn: "turn-1" } });
});

test("a question without an answer says why, and can be asked again or discarded", async () => {
  const attempt = { question: { text: "hello?", images: [] }, problem: PROBLEM };
  const { kernel, root } = open([], { attempt });
  expect(root.querySelector(".farm-bubble")?.textContent).toBe("hello?");
  await settle(() => button("Retry").click());
  await settle(() => kernel.done());
  await settle(() => button("Discard").click());
  expect(kernel.calls.map(({ call, args }) => [call, args])).toEqual([
    ["retry", { turn: null }],
    ["dismiss", {}],
  ]);
});

test("an example is put where it can be changed before it is sent", async () => {
  const { kernel, root } = open();
  await settle(() => (root.querySelector(".farm-example") as HTMLElement).click());
  expect(field().value).toContain("softmax");
  expect(document.activeElement).toBe(field());
  expect(kernel.calls).toEqual([]);
});

test("another model is found by what is typed", async () => {
  const models = ["toy:alpha", "toy:beta"].map((name) => ({ name, group: "toy", note: "", is_at_hand: true, sees: false }));
  const { kernel } = open([], { models });
  await settle(() => button("Model: toy:m").click());
  expect(kernel.calls.at(-1)?.call).toBe("models");
  const search = document.activeElement as HTMLInputElement;
  await type(search, "bet");
  await press(search, "Enter");
  expect(kernel.calls.at(-1)).toMatchObject({ call: "model", args: { name: "toy:beta" } });
  expect(document.activeElement).toBe(button("Model: toy:m"));
});

test("a model that is not listed can be named", async () => {
  const { kernel } = open();
  await settle(() => button("Model: toy:m").click());
  await type(document.activeElement as HTMLInputElement, "./mine.gguf");
  await press(document.activeElement as Element, "Enter");
  expect(kernel.calls.at(-1)).toMatchObject({ call: "model", args: { name: "./mine.gguf" } });
});

test("arrows move through the choices, and Escape leaves things as they are", async () => {
  const { kernel } = open();
  await settle(() => button("Conversation: notebook").click());
  const search = document.activeElement as Element;
  await press(search, "ArrowDown");
  const active = document.getElementById(search.getAttribute("aria-activedescendant") ?? "");
  expect(active?.textContent).toContain("other");
  await press(search, "Escape");
  expect(document.querySelector('[role="listbox"]')).toBeNull();
  expect(kernel.calls).toEqual([]);
});

test("settings are sent as numbers or nothing", async () => {
  const { kernel } = open([], { settings: { system: "Be brief.", temperature: 0.2, top_p: null, max_tokens: null, seed: 3 } });
  await settle(() => button("Settings: 3 set").click());
  const form = document.querySelector("form") as HTMLFormElement;
  (form.elements.namedItem("temperature") as HTMLInputElement).value = "0.7";
  (form.elements.namedItem("seed") as HTMLInputElement).value = "";
  await settle(() => form.requestSubmit());
  expect(kernel.calls.at(-1)).toMatchObject({
    call: "settings",
    args: { system: "Be brief.", temperature: 0.7, top_p: null, max_tokens: null, seed: null },
  });
  await settle(() => kernel.done(PROBLEM));
  expect(document.querySelector("form")?.textContent).toContain("mend it");
});

test("a conversation is forgotten when one is sure", async () => {
  const { kernel } = open([turn("one", "1")]);
  await settle(() => button("More").click());
  await settle(() => button("Forget this conversation").click());
  expect(kernel.calls).toEqual([]);
  await settle(() => button("Really forget it? Press again").click());
  expect(kernel.calls.at(-1)?.call).toBe("forget");
});

test("the view that has asked for an export acts on it, and no other", async () => {
  const copied: string[] = [];
  vi.stubGlobal("navigator", { clipboard: { writeText: async (text: string) => void copied.push(text) } });
  const { kernel, root } = open([turn("one", "1")]);
  await settle(() => button("More").click());
  await settle(() => button("Copy as Markdown").click());
  const { by } = kernel.calls.at(-1)?.args as { by: string };
  await settle(() => kernel.tell("chat", { event: "exported", data: { by: "another", kind: "markdown", text: "theirs" } }));
  await settle(() => kernel.tell("chat", { event: "exported", data: { by, kind: "markdown", text: "ours" } }));
  expect(copied).toEqual(["ours"]);
  expect(root.textContent).toContain("on the clipboard");
});

test("code is put into a cell where the page can do that", async () => {
  const insert = vi.fn();
  const { host } = conversation([turn("how?", CODE)]);
  show(<ChatPanel host={host} notebook={{ insert } as unknown as NotebookCells} />);
  const insertion = await drawn("Insert as new cell");
  await settle(() => insertion.click());
  expect(insert).toHaveBeenCalledWith([{ cell_type: "code", source: "x = 1" }], expect.any(Element));
});

test("what is no Python is copied only", async () => {
  open([turn("how?", "```bash\nls\n```")]);
  await drawn("Copy");
  expect(() => button("Put into next cell")).toThrow();
});

test("elsewhere the kernel puts it below the next cell, and the button says so", async () => {
  const { kernel } = open([turn("how?", CODE)]);
  expect((await drawn("Put into next cell")).title).toContain("below the next cell that you run");
  await settle(() => button("Put into next cell").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "insert", args: { code: "x = 1" } });
  await settle(() => kernel.done());
  expect(document.body.textContent).toContain("Comes below the next cell you run");
});

test("pictures that are pasted wait to be sent, and can be taken away", async () => {
  const { kernel, root } = open();
  const files = [new File([new Uint8Array(3)], "plot.png", { type: "image/png" })];
  const paste = Object.assign(new Event("paste", { bubbles: true, cancelable: true }), { clipboardData: { files } });
  await settle(() => field().dispatchEvent(paste));
  await vi.waitFor(() => expect(root.querySelector(".farm-attached img")).not.toBeNull(), { timeout: 5_000 });
  await press(field(), "Enter");
  expect(kernel.calls.at(-1)).toMatchObject({ call: "send", args: { text: "", images: ["AAAA"] } });
  await settle(() => button("Remove plot.png").click());
  expect(root.querySelector(".farm-attached")).toBeNull();
});

test("what others say is text outside of answers", () => {
  const attack = '<img src=x onerror="window.hit = 1">';
  const hostile = turn(attack, "fine");
  hostile.answer.footer = hostile.answer.model = attack;
  const { root } = open([hostile], { thread: attack, threads: [attack], default_model: attack, doubt: attack, note: attack });
  expect(root.querySelector("img")).toBeNull();
  expect(root.querySelector(".farm-bubble")?.textContent).toBe(attack);
});

test("a long question is folded", async () => {
  const { root } = open([turn("word\n".repeat(30), "1")]);
  expect(root.querySelector(".farm-bubble-folded")).not.toBeNull();
  await settle(() => button("Show all of it").click());
  expect(root.querySelector(".farm-bubble-folded")).toBeNull();
});

test("the end of an answer is said once, to screen readers", async () => {
  const { kernel, root } = open([], { running: RUNNING });
  expect(root.querySelector('[aria-live="polite"]')?.textContent).toBe("");
  expect(root.querySelector('[role="log"]')?.getAttribute("aria-live")).toBe("off");
  await settle(() => kernel.set("chat", { running: null, turns: ["turn-9"], "turn-9": turn("go on", "done") }));
  expect(root.querySelector('[aria-live="polite"]')?.textContent).toBe("The answer is finished.");
});

test.each([
  ["an empty conversation", [], {}],
  ["answers", [turn("one", CODE), turn("two", "so f", { problem: PROBLEM })], {}],
  ["an answer on its way", [], { running: { ...RUNNING, pieces: 1, text: CODE, reasoning: "hm" } }],
  ["a question without an answer", [], { attempt: { question: { text: "?", images: [] }, problem: PROBLEM } }],
])("axe finds nothing in %s", { timeout: 30_000 }, async (_, turns, more) => {
  const { root } = open(turns, more);
  for (const name of ["More", "Settings", "Model: toy:m"]) {
    await settle(() => button(name).click());
    const found = await axe.run(root, { rules: { "color-contrast": { enabled: false } } });
    expect(found.violations.map((each) => `${each.id}: ${each.nodes[0]?.html}`)).toEqual([]);
    await press(document.activeElement as Element, "Escape");
  }
});
