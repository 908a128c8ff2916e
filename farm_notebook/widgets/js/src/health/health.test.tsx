import axe from "axe-core";
import { afterEach, expect, test } from "vitest";
import { button, clear, partWith, settle, show } from "../testing";
import { HealthPanel, type HealthSlices } from "./health";

const STATE: HealthSlices = {
  providers: [
    { name: "llamacpp", healthy: true, detail: "fetched: smollm2:135m", fix: null },
    { name: "openai", healthy: false, detail: "OPENAI_API_KEY is not set", fix: "set OPENAI_API_KEY to your key" },
  ],
  last_errors: { llamacpp: { detail: "its process died", at: 1_700_000_000 } },
  checked_at: 1_700_000_000,
  is_checking: false,
};

afterEach(clear);

test("each provider is told with its state, and what to do", () => {
  const { host } = partWith("health", STATE);
  const rows = [...show(<HealthPanel host={host} />).querySelectorAll("li")].map((row) => row.textContent);
  expect(rows[0]).toMatch(/llamacpp ok.*smollm2.*last error at \d\d:\d\d:\d\d: its process died/);
  expect(rows[1]).toMatch(/openai not ok.*is not set.*set OPENAI_API_KEY to your key/);
});

test("the button asks the kernel, once while it is under way", async () => {
  const { kernel, host } = partWith("health", STATE);
  show(<HealthPanel host={host} />);
  await settle(() => button("Refresh").click());
  await settle(() => button("Refresh").click());
  expect(kernel.calls.map((each) => each.call)).toEqual(["refresh"]);
  await settle(() => kernel.done());
  await settle(() => button("Refresh").click());
  expect(kernel.calls).toHaveLength(2);
});

test("an error is shown where it happened, and can be dismissed", async () => {
  const { kernel, host } = partWith("health", STATE);
  const root = show(<HealthPanel host={host} />);
  await settle(() => button("Refresh").click());
  await settle(() => kernel.done({ title: "Bad", message: "it <b>broke</b>", fix: "mend it" }));
  expect(root.querySelector('[role="alert"]')?.textContent).toContain("it <b>broke</b>mend it");
  await settle(() => button("Dismiss this message").click());
  expect(root.querySelector('[role="alert"]')).toBeNull();
});

test("what a provider says of itself is text", () => {
  const detail = '<img src=x onerror="window.hit = 1">';
  const { host } = partWith("health", { ...STATE, providers: [{ name: "x", healthy: false, detail, fix: detail }] });
  const root = show(<HealthPanel host={host} />);
  expect(root.querySelector("img")).toBeNull();
  expect(root.textContent).toContain(detail);
});

test("axe finds nothing", async () => {
  const { host } = partWith("health", STATE);
  const found = await axe.run(show(<HealthPanel host={host} />), { rules: { "color-contrast": { enabled: false } } });
  expect(found.violations.map((each) => each.id)).toEqual([]);
});
