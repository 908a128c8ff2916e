import { afterEach, expect, test } from "vitest";
import { clear, FakeKernel, settle } from "../testing";
import { mountPart } from "./mount";
import { Button } from "./button";
import type { PartProps } from "./mount";

function Greeting({ host }: PartProps<{ text: string }>) {
  return (
    <p>
      {host.slice("text").value}
      <Button onClick={() => void host.call("greet")}>Greet</Button>
    </p>
  );
}

type Hooks = {
  initialize(props: object): () => void;
  render(props: object): () => void;
};

/** As anywidget does it: one set of hooks a widget. */
function widget(): Hooks {
  return (mountPart("greeting", Greeting) as unknown as () => Hooks)();
}

function view(hooks: Hooks, kernel: FakeKernel): { el: HTMLElement; end: () => void } {
  const el = document.body.appendChild(document.createElement("div"));
  return { el, end: hooks.render({ model: kernel, el }) };
}

afterEach(clear);

test("a panel is empty until its state has come", async () => {
  const kernel = new FakeKernel(["greeting"]);
  const hooks = widget();
  hooks.initialize({ model: kernel });
  const { el } = view(hooks, kernel);
  expect(el.textContent).toBe("");
  await settle(() => kernel.tell("greeting", { state: { text: "hello" } }));
  expect(el.textContent).toBe("helloGreet");
});

test("two views stay in step", async () => {
  const kernel = new FakeKernel(["greeting"]);
  const hooks = widget();
  hooks.initialize({ model: kernel });
  const [one, two] = [view(hooks, kernel), view(hooks, kernel)];
  await settle(() => kernel.tell("greeting", { state: { text: "a" } }));
  await settle(() => kernel.set("greeting", { text: "b" }));
  expect([one.el.textContent, two.el.textContent]).toEqual(["bGreet", "bGreet"]);
  one.end();
  await settle(() => kernel.set("greeting", { text: "c" }));
  expect([one.el.textContent, two.el.textContent]).toEqual(["", "cGreet"]);
});

test("the static output is hidden while the panel lives", async () => {
  const kernel = new FakeKernel(["greeting"]);
  const hooks = widget();
  const end = hooks.initialize({ model: kernel });
  document.body.insertAdjacentHTML("beforeend", '<div class="farm-static farm-static-cafe0123">saved</div>');
  const isHidden = () => getComputedStyle(document.querySelector(".farm-static") as Element).display === "none";
  expect(isHidden()).toBe(false);
  await settle(() => kernel.tell("greeting", { state: { text: "a" } }));
  expect(isHidden()).toBe(true);
  end();
  expect(isHidden()).toBe(false);
});

test("a panel whose kernel is gone says so, and keeps what it showed", async () => {
  const kernel = new FakeKernel(["greeting"]);
  const hooks = widget();
  hooks.initialize({ model: kernel });
  const { el } = view(hooks, kernel);
  await settle(() => kernel.tell("greeting", { state: { text: "a" } }));
  await settle(() => kernel.trigger("comm_live_update"));
  expect(el.textContent).toContain("The kernel of this panel is gone");
  expect(el.textContent).toContain("aGreet");
});

test("keys stay in a panel, but for the one that saves", async () => {
  const kernel = new FakeKernel(["greeting"]);
  const { el, end } = view(widget(), kernel);
  await settle(() => kernel.tell("greeting", { state: { text: "hello" } }));
  const root = el.querySelector(".farm-panel");
  const heard: string[] = [];
  const listen = (event: KeyboardEvent) => heard.push(event.key);
  const press = (key: string, ctrlKey = false) => {
    root?.querySelector("button")?.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true }));
    return root?.hasAttribute("data-lm-suppress-shortcuts");
  };
  document.addEventListener("keydown", listen);
  expect([press("d"), press("s", true), press("x")]).toEqual([true, false, true]);
  expect(heard).toEqual(["s"]);
  await settle(end);
  document.removeEventListener("keydown", listen);
});
