import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { button, clear, partWith, settle, show } from "../testing";
import { ModelsPanel } from "./models";
import { words } from "./progress";
import { FETCHING, IN_MEMORY, model, STATE } from "./testing";
import type { ModelsSlices } from "./values";

const PROBLEM = { title: "The model does not load", message: "shard 2 is <b>missing</b>", fix: "farm pull here:small" };

function opened(more: Partial<ModelsSlices> = {}) {
  const { kernel, host } = partWith<ModelsSlices>("models", { ...STATE, ...more });
  return { kernel, root: show(<ModelsPanel host={host} />) };
}

const lines = (root: HTMLElement) => [...root.querySelectorAll("li")];
const line = (root: HTMLElement, name: string): HTMLElement => {
  const found = lines(root).find((each) => each.querySelector(".farm-models-name")?.textContent === name);
  if (!found) throw new Error(`no line ${name}`);
  return found;
};
const main = (root: HTMLElement, name: string) => line(root, name).querySelector<HTMLElement>(".farm-models-main")!;
const searchField = (root: HTMLElement) => root.querySelector<HTMLInputElement>('input[type="text"]')!;
const search = (root: HTMLElement, text: string) =>
  settle(() => {
    searchField(root).value = text;
    searchField(root).dispatchEvent(new Event("input", { bubbles: true }));
  });
const press = (key: string, more: KeyboardEventInit = {}) =>
  settle(() => document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more })));
const names = (root: HTMLElement) => lines(root).map((each) => each.querySelector(".farm-models-name")?.textContent);

afterEach(clear);

test("models stand below their providers, with what is known of each", () => {
  const { root } = opened();
  const groups = [...root.querySelectorAll(".farm-models-group")].map((each) => each.querySelector("header")?.textContent);
  expect(groups).toEqual(["Names1", "here, ok2", "cloud, ok1", "downnot ok"]);
  expect(line(root, "small").textContent).toMatch(/answers now.*on this machine.*100 MB fits/);
  expect(line(root, "small").textContent).toContain("tools");
  expect(line(root, "large").textContent).toMatch(/to be fetched.*8k context.*70 GB too large/);
  expect(line(root, "big-vision").textContent).toMatch(/vision.*128k context.*\$0\.40 · \$1\.60/);
  expect(root.textContent).toContain("nothing answersfarm ollama start");
});

test("an unknown price is unknown, and what runs here has none", () => {
  const { root } = opened({
    models: [model("cloud:x", { is_here: false, input_price: null, output_price: null }), model("here:y")],
  });
  expect(line(root, "x").textContent).toContain("price unknown");
  expect(line(root, "y").textContent).not.toMatch(/price|\$/);
});

test("a click chooses a model, and the mark follows when the kernel says so", async () => {
  const { kernel, root } = opened();
  await settle(() => main(root, "big-vision").click());
  expect(kernel.calls.map(({ call, args }) => [call, args])).toEqual([["choose", { name: "cloud:big-vision" }]]);
  expect(main(root, "big-vision").getAttribute("aria-pressed")).toBe("false");
  await settle(() => kernel.set("models", { default: { name: "cloud:big-vision", ref: "cloud:big-vision" } }));
  expect(main(root, "big-vision").getAttribute("aria-pressed")).toBe("true");
  expect(main(root, "small").getAttribute("aria-pressed")).toBe("false");
  expect(root.querySelector(".farm-models-answers")?.textContent).toBe("default: cloud:big-vision");
});

test("the search finds words anywhere and marks them in the names", async () => {
  const { root } = opened();
  await search(root, "vision cloud");
  expect(names(root)).toEqual(["big-vision"]);
  expect([...root.querySelectorAll("mark")].map((each) => each.textContent)).toEqual(["vision"]);
  expect(root.querySelector("[role=status]:not(.farm-live)")?.textContent).toBe("1 of 4");
});

test("what nobody lists can be chosen, loaded and pulled as it was typed", async () => {
  const { kernel, root } = opened();
  await search(root, "org/repo");
  expect(names(root)).toEqual(["org/repo"]);
  await settle(() => button("Pull org/repo").click());
  await settle(() => main(root, "org/repo").click());
  expect(kernel.calls.map(({ call, args }) => [call, args.name])).toEqual([
    ["pull", "org/repo"],
    ["choose", "org/repo"],
  ]);
});

test("Enter in the search chooses the first that was found, and nothing where nothing was", async () => {
  const { kernel, root } = opened();
  searchField(root).focus();
  await press("Enter");
  await search(root, "nothing-like-that");
  await press("Enter");
  expect(kernel.calls).toEqual([]);
  await search(root, "large");
  await press("Enter");
  expect(kernel.calls.map(({ args }) => args.name)).toEqual(["here:large"]);
});

test("what can be done with a model depends on where it is", async () => {
  const { kernel, root } = opened();
  const can = (name: string) =>
    [...line(root, name).querySelectorAll(".farm-models-actions button")].map((each) => each.textContent);
  expect([can("auto"), can("small"), can("large"), can("big-vision")]).toEqual([[], ["Load"], ["Load", "Pull"], []]);
  await settle(() => kernel.set("models", { states: { "here:small": { ...IN_MEMORY, is_pinned: true } }, watched: ["here:small"] }));
  expect(can("small")).toEqual(["Unload", "Reload", "Unpin", "Unwatch"]);
  expect(line(root, "small").textContent).toMatch(/loaded.*pinned.*watched/);
  await settle(() => button("Unwatch small").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "watch", args: { name: "here:small", is_watched: false } });
});

test("a load tells how far it is, how fast and how long, and can be cancelled", async () => {
  const { kernel, root } = opened({ works: { "here:small": FETCHING } });
  expect(line(root, "small").textContent).toContain("Fetching 45 MB of 98 MB, 12 MB/s, 4.4 s left");
  expect(line(root, "small").querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")).toBe("45");
  await settle(() => button("Cancel: Fetching here:small").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "cancel", args: { name: "here:small" } });
  await settle(() => kernel.set("models", { works: { "here:small": { ...FETCHING, is_stopping: true } } }));
  expect(line(root, "small").textContent).toContain("Stopping…");
});

test("what a load goes to is told, and of what is not known nothing", () => {
  const unknown = { total_bytes: null, bytes_per_s: null, remaining_s: null };
  expect(words({ ...FETCHING, stage: "load", device: "cuda:0", remaining_s: null }, "Loading")).toBe(
    "Loading to cuda:0: 45 MB of 98 MB, 12 MB/s",
  );
  expect(words({ ...FETCHING, ...unknown }, "Fetching")).toBe("Fetching 45 MB");
  expect(words({ ...FETCHING, ...unknown, completed_bytes: 0 }, "Fetching")).toBe("Fetching…");
  expect(words({ ...FETCHING, completed_bytes: 0 }, "Loading")).toBe("Loading: 98 MB");
});

test("a load of a model that nobody lists is shown as well", () => {
  const { root } = opened({ works: { "hub:org/repo": FETCHING } });
  expect(root.querySelector(".farm-models-group header")?.textContent).toBe("Not listed1");
  expect(line(root, "hub:org/repo").textContent).toContain("45 MB of 98 MB");
});

test("progress draws its own line anew, and no other", async () => {
  const { kernel, root } = opened({ works: { "here:small": FETCHING } });
  const changed: Node[] = [];
  const observer = new MutationObserver((records) => changed.push(...records.map((each) => each.target)));
  observer.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
  await settle(() => kernel.set("models", { works: { "here:small": { ...FETCHING, completed_bytes: 60_000_000 } } }));
  await settle();
  observer.disconnect();
  expect(changed.length).toBeGreaterThan(0);
  expect(changed.every((each) => line(root, "small").contains(each))).toBe(true);
});

test("an error stands at its model, as text, and can be dismissed", async () => {
  const { kernel, root } = opened({ problems: { "here:small": PROBLEM } });
  expect(line(root, "small").querySelector("[role=alert]")?.textContent).toContain("<b>missing</b>");
  expect(root.querySelectorAll("[role=alert]")).toHaveLength(1);
  await settle(() => button("Dismiss this message").click());
  expect(kernel.calls.at(-1)).toMatchObject({ call: "dismiss", args: { name: "here:small" } });
});

test("a call that the kernel cannot take is told of, too", async () => {
  const { kernel, root } = opened();
  await settle(() => main(root, "small").click());
  await settle(() => kernel.done(PROBLEM));
  expect(root.querySelector(".farm-models > [role=alert]")?.textContent).toContain("shard 2");
});

test("the keys go through the lines and to what can be done, and back to the search", async () => {
  const { kernel, root } = opened();
  searchField(root).focus();
  await press("ArrowDown");
  const focused = () => document.activeElement?.closest("li")?.querySelector(".farm-models-name")?.textContent;
  expect(focused()).toBe("auto");
  await press("ArrowDown"); // the header of the next group
  await press("ArrowDown");
  await press("ArrowDown");
  expect(focused()).toBe("large");
  await press("ArrowRight");
  expect(document.activeElement?.textContent).toBe("Load");
  await press("ArrowRight");
  expect(document.activeElement?.textContent).toBe("Pull");
  await press("ArrowUp");
  expect(document.activeElement).toBe(main(root, "small"));
  await press("Home");
  await press("ArrowUp");
  expect(document.activeElement).toBe(searchField(root));
  expect(kernel.calls).toEqual([]);
});

test("a slash and the browser's key for searching lead to the search from anywhere in the panel", async () => {
  const { root } = opened();
  for (const [key, more] of [["/", {}], ["f", { ctrlKey: true }], ["Escape", {}]] as const) {
    main(root, "large").focus();
    await press(key, more);
    expect(document.activeElement).toBe(searchField(root));
  }
});

test("one line is in the order of the Tab key: the one where the focus was last", async () => {
  const { root } = opened();
  const inOrder = () => [...root.querySelectorAll<HTMLElement>('.farm-models-main[tabindex="0"]')].map((each) => each.textContent);
  expect(inOrder()).toHaveLength(1);
  expect(inOrder()[0]).toContain("small");
  await settle(() => main(root, "large").focus());
  expect(inOrder()).toHaveLength(1);
  expect(inOrder()[0]).toContain("large");
});

test("a group is folded by its header, and what is searched for is found in it all the same", async () => {
  const { root } = opened();
  const header = [...root.querySelectorAll<HTMLElement>(".farm-models-group header button")][1]!;
  await settle(() => header.click());
  expect(header.getAttribute("aria-expanded")).toBe("false");
  expect(names(root)).toEqual(["auto", "big-vision"]);
  header.focus();
  await press("ArrowRight");
  expect(names(root)).toContain("small");
  await press("ArrowLeft");
  expect(names(root)).not.toContain("small");
  await search(root, "small");
  expect(names(root)).toContain("small");
});

test("the filter leaves what is on this machine, or in memory", async () => {
  const { kernel, root } = opened({ states: { "here:small": IN_MEMORY } });
  const choose = (index: number) => settle(() => root.querySelectorAll<HTMLInputElement>('input[type="radio"]')[index]?.click());
  await choose(1);
  expect(names(root)).toEqual(["small"]);
  await choose(2);
  expect(names(root)).toEqual(["small"]);
  await settle(() => kernel.set("models", { states: {} }));
  expect(names(root)).toEqual([]);
  expect(root.textContent).toContain("Nothing like that is in memory.");
  await choose(0);
  expect(names(root)).toHaveLength(4);
});

test("of very many models the first are drawn at once, and the others right after", async () => {
  const models = Array.from({ length: 350 }, (_, index) => model(`${index < 150 ? "here" : "there"}:m${index}`));
  const { root } = opened({ models });
  expect(lines(root)).toHaveLength(100);
  const counts = [...root.querySelectorAll(".farm-models-count")].map((each) => each.textContent);
  expect(counts).toEqual(["1", "150", "200", "", ""]);
  while (lines(root).length < 351) await settle(() => new Promise((resolve) => setTimeout(resolve)));
  const first = line(root, "m1");
  await search(root, "m");
  expect(lines(root).length).toBeLessThanOrEqual(200);
  while (lines(root).length < 351) await settle(() => new Promise((resolve) => setTimeout(resolve)));
  expect(line(root, "m1")).toBe(first);
});

test("before there is a list the panel says that it is on its way", () => {
  const { root } = opened({ models: [], providers: [], listed_at: null, is_listing: true });
  expect(root.querySelector("footer")?.textContent).toContain("Asking the providers…");
});

test("what a provider says of its models is text", () => {
  const evil = '<img src=x onerror="window.hit = 1">';
  const { root } = opened({ models: [model(`here:${evil}`, { description: evil, capabilities: [evil] })] });
  expect(root.querySelector("img")).toBeNull();
  expect(root.textContent).toContain(evil);
});

test("axe finds nothing, with a load and an error on the way", async () => {
  const states = { "here:small": { ...IN_MEMORY, state: "failed" as const, detail: "its process died" } };
  const { root } = opened({ works: { "here:large": FETCHING }, problems: { "cloud:big-vision": PROBLEM }, states });
  const found = await axe.run(root, { rules: { "color-contrast": { enabled: false } } });
  expect(found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.html)}`)).toEqual([]);
});
