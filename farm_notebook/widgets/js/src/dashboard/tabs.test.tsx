import { useSignal } from "@preact/signals";
import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { button, clear, settle, show } from "../testing";
import { Tabs } from "./tabs";

const TABS = ["one", "two", "three"].map((name) => ({ name, title: `Tab ${name}`, content: <p>{`content ${name}`}</p> }));

function Example() {
  const open = useSignal("one");
  return <Tabs label="Examples" tabs={TABS} open={open.value} onOpen={(name) => (open.value = name)} />;
}

const seen = (root: HTMLElement) => [...root.querySelectorAll("[role=tabpanel]:not([hidden])")].map((e) => e.textContent);
const press = (key: string) =>
  settle(() => document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })));

afterEach(clear);

test("one panel is seen at a time, and a hidden one keeps what it holds", async () => {
  const root = show(<Example />);
  expect(seen(root)).toEqual(["content one"]);
  const first = root.querySelector("[role=tabpanel] p");
  await settle(() => button("Tab two").click());
  expect(seen(root)).toEqual(["content two"]);
  expect(root.querySelector("[role=tabpanel] p")).toBe(first);
});

test("the arrow keys go round, Home and End to the ends, and the focus goes with them", async () => {
  const root = show(<Example />);
  button("Tab one").focus();
  const expected = { ArrowLeft: "three", ArrowRight: "one", End: "three", Home: "one" };
  for (const [key, name] of Object.entries(expected)) {
    await press(key);
    expect(seen(root)).toEqual([`content ${name}`]);
    expect(document.activeElement?.textContent).toBe(`Tab ${name}`);
  }
});

test("only the open tab is in the order of the Tab key", () => {
  const root = show(<Example />);
  expect([...root.querySelectorAll<HTMLElement>("[role=tab]")].map((each) => each.tabIndex)).toEqual([0, -1, -1]);
});

test("axe finds nothing", async () => {
  const found = await axe.run(show(<Example />), { rules: { "color-contrast": { enabled: false } } });
  expect(found.violations.map((each) => each.id)).toEqual([]);
});
