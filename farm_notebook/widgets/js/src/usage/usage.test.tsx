import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { clear, partWith, settle, show } from "../testing";
import { UsagePanel } from "./usage";
import { byDay, days, OTHERS, ranked, type Row, type UsageSlices } from "./values";

const row = (key: string, day: string, more: Partial<Row> = {}): Row => ({
  key,
  day,
  requests: 1,
  cached: 0,
  refused: 0,
  failed: 0,
  cancelled: 0,
  input_tokens: 10,
  output_tokens: 5,
  uncounted: 0,
  cost: 0,
  unpriced: 0,
  first_token_median_s: 0.2,
  tokens_per_s_median: 80,
  ...more,
});

const DAILY = [row("a", "2026-02-27", { requests: 3 }), row("b", "2026-03-01", { cached: 2, cost: 0.5 })];
const STATE: UsageSlices = {
  period: "7d",
  rows: [row("a", "", { requests: 3, unpriced: 3 }), row("b", "", { cached: 2, cost: 0.5, unpriced: 1 })],
  total: row("total", "", { requests: 4, cached: 2, cost: 0.5, unpriced: 4 }),
  daily: DAILY,
  note: "Times are medians.",
};

afterEach(clear);

test("days without calls are days too, also over the end of a month", () => {
  expect(days(DAILY)).toEqual(["2026-02-27", "2026-02-28", "2026-03-01"]);
  expect(days([])).toEqual([]);
  expect(byDay(DAILY, days(DAILY), (each) => each.requests)).toEqual([3, 0, 1]);
});

test("models that were asked least are put together", () => {
  const many = Array.from({ length: 9 }, (_, n) => row(`m${n}`, "2026-01-01", { requests: n + 1 }));
  expect(ranked(many)).toEqual(["m8", "m7", "m6", "m5", "m4", OTHERS]);
  expect(ranked(DAILY)).toEqual(["a", "b"]);
});

test("each chart tells its days in words, and the table the figures of each model", () => {
  const { host } = partWith("usage", STATE);
  const root = show(<UsagePanel host={host} />);
  const labels = [...root.querySelectorAll("svg")].map((each) => each.getAttribute("aria-label"));
  expect(labels[0]).toBe("Requests by day: 2026-02-27 3, 2026-02-28 0, 2026-03-01 1");
  const lines = [...root.querySelectorAll("tbody tr")].map((each) => each.textContent);
  expect(lines).toEqual(["a300105–200 ms80", "b120105$0.50 + ?200 ms80", "total420105$0.50 + ?200 ms80"]);
});

test("kept answers are drawn on top of the requests", () => {
  const { host } = partWith("usage", STATE);
  const root = show(<UsagePanel host={host} />);
  expect(root.querySelectorAll("svg .farm-usage-extra")).toHaveLength(1);
});

test("another period is asked for by the keyboard as well", async () => {
  const { kernel, host } = partWith("usage", STATE);
  const root = show(<UsagePanel host={host} />);
  const all = root.querySelectorAll<HTMLInputElement>("input[type=radio]")[3];
  await settle(() => all?.click());
  expect(kernel.calls.map(({ call, args }) => [call, args])).toEqual([["choose", { period: "all" }]]);
});

test("without calls there is a sentence", () => {
  const empty = { ...STATE, rows: [], daily: [], note: "No calls so far." };
  const { host } = partWith("usage", empty);
  const root = show(<UsagePanel host={host} />);
  expect(root.textContent).toContain("No calls so far.");
  expect(root.querySelector("svg")).toBeNull();
});

test("a model's name is text", () => {
  const bad = '<img src=x onerror="window.hit = 1">';
  const { host } = partWith("usage", { ...STATE, rows: [row(bad, "")], daily: [row(bad, "2026-01-01")] });
  const root = show(<UsagePanel host={host} />);
  expect(root.querySelector("img")).toBeNull();
  expect(root.textContent).toContain(bad);
});

test("axe finds nothing", async () => {
  const { host } = partWith("usage", STATE);
  const found = await axe.run(show(<UsagePanel host={host} />), { rules: { "color-contrast": { enabled: false } } });
  expect(found.violations.map((each) => each.id)).toEqual([]);
});
