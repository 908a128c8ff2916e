import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { button, clear, partWith, settle, show } from "../testing";
import { path } from "./curve";
import { GPUPanel } from "./gpu";
import { stretches, type Device, type GPUSlices, type Sample } from "./values";

const GPU: Device = {
  id: "cuda:0",
  kind: "cuda",
  name: "A card",
  total_bytes: 24e9,
  used_bytes: 20e9,
  free_bytes: 4e9,
  ours_bytes: 15e9,
  utilization: 0.42,
  temperature_c: 61,
  power_w: 200,
  power_limit_w: 350,
  models: [
    { ref: "huggingface:small", size_bytes: 2e9 },
    { ref: "huggingface:large", size_bytes: 12e9 },
  ],
  detail: "",
};
const CPU: Device = {
  ...GPU,
  id: "cpu",
  kind: "cpu",
  utilization: null,
  temperature_c: null,
  power_w: null,
  models: [],
  ours_bytes: null,
};
const STATE: GPUSlices = { devices: [GPU, CPU], samples: [], problems: [], freed: null };

const sample = (at: number, load: number): Sample => ({
  at,
  devices: { "cuda:0": { memory: 0.5, load, temperature_c: 60, power_w: 100 } },
});

afterEach(clear);

test("the stretches of the memory are the models, largest first, the rest of the kernel, others, and what is free", () => {
  const found = stretches(GPU).map(({ label, bytes }) => [label, bytes]);
  expect(found).toEqual([
    ["huggingface:large", 12e9],
    ["huggingface:small", 2e9],
    ["the rest of this kernel", 1e9],
    ["other processes", 5e9],
    ["free", 4e9],
  ]);
});

test("where nobody tells what this kernel takes, all that is used is told as one", () => {
  expect(stretches(CPU).map(({ label, bytes }) => [label, bytes])).toEqual([
    ["other", 20e9],
    ["free", 4e9],
  ]);
});

test("models that would take more than is used do not make the bar longer than the memory", () => {
  const device = { ...GPU, used_bytes: 10e9 };
  const found = stretches(device);
  expect(found.reduce((sum, each) => sum + each.bytes, 0)).toBe(24e9);
  expect(found.every((each) => each.bytes >= 0)).toBe(true);
});

test("the bar is told in words to who does not see it", () => {
  const { host } = partWith("gpu", STATE);
  const bar = show(<GPUPanel host={host} />).querySelector('[role="img"]');
  expect(bar?.getAttribute("aria-label")).toMatch(/^Memory of cuda:0: huggingface:large 12 GB, .*free 4.0 GB$/);
});

test("a figure that nobody tells is not shown, or as a dash, and never as zero", () => {
  const { host } = partWith("gpu", STATE);
  const cards = [...show(<GPUPanel host={host} />).querySelectorAll("article")].map((each) => each.textContent);
  expect(cards[0]).toMatch(/load42 %.*temperature61 °C.*power200 of 350 W/);
  expect(cards[1]).toMatch(/load–/);
  expect(cards[1]).not.toMatch(/temperature|power/);
});

test("a curve goes on with each sample, and has a gap where nobody looked", async () => {
  expect(path([[0, 0.5], [1, 1], [60, 0], [61, 0.5]], 1).match(/[ML]/g)).toEqual(["M", "L", "M", "L"]);
  const { kernel, host } = partWith("gpu", { ...STATE, samples: [sample(10, 0.1)] });
  const root = show(<GPUPanel host={host} />);
  const curve = () => root.querySelectorAll("article")[0]?.querySelectorAll("path")[1]?.getAttribute("d") ?? "";
  expect(curve().match(/[ML]/g)).toEqual(["M"]);
  await settle(() => kernel.tell("gpu", { event: "sample", data: sample(11, 0.9) }));
  expect(curve().match(/[ML]/g)).toEqual(["M", "L"]);
});

test("samples of long ago are let go", async () => {
  const { kernel, host } = partWith("gpu", { ...STATE, samples: [sample(10, 0.1)] });
  const root = show(<GPUPanel host={host} />);
  await settle(() => kernel.tell("gpu", { event: "sample", data: sample(1000, 0.9) }));
  const drawn = root.querySelectorAll("article")[0]?.querySelectorAll("path")[1]?.getAttribute("d");
  expect(drawn?.match(/[ML]/g)).toEqual(["M"]);
});

test("freeing tells what came of it, as text, until it is dismissed", async () => {
  const { kernel, host } = partWith("gpu", STATE);
  const root = show(<GPUPanel host={host} />);
  await settle(() => button("Free").click());
  expect(kernel.calls.map((each) => each.call)).toEqual(["free"]);
  expect(button("Freeing…").getAttribute("aria-busy")).toBe("true");
  const freed = { at: 1_700_000_000, lines: ["<b>x</b> is unloaded.", "cuda:0: 5.0 GB free of 24 GB."] };
  await settle(() => kernel.set("gpu", { freed }));
  await settle(() => kernel.done());
  expect(root.querySelector(".farm-note")?.textContent).toContain("<b>x</b> is unloaded.\ncuda:0: 5.0 GB");
  await settle(() => button("Dismiss this message").click());
  expect(root.querySelector(".farm-note")).toBeNull();
});

test("axe finds nothing", async () => {
  const { host } = partWith("gpu", { ...STATE, samples: [sample(1, 0.5)], problems: ["no driver"] });
  const found = await axe.run(show(<GPUPanel host={host} />), { rules: { "color-contrast": { enabled: false } } });
  expect(found.violations.map((each) => each.id)).toEqual([]);
});
