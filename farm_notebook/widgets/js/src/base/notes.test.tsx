import { signal } from "@preact/signals";
import { afterEach, expect, test, vi } from "vitest";
import { button, clear, FakeKernel, settle, show } from "../testing";
import { Host, type Problem } from "./host";
import { BackgroundError, BusyNote, ConnectionNote, ErrorNote, WAITING_MS } from "./notes";

const PROBLEM: Problem = { title: "<b>No</b>", message: "it <i>failed</i>", fix: "pip install x" };

afterEach(() => {
  vi.useRealTimers();
  clear();
});

test("an error is told as text, and in an alert", () => {
  const alert = show(<ErrorNote problem={PROBLEM} />).querySelector('[role="alert"]');
  expect(alert?.textContent).toBe("<b>No</b>it <i>failed</i>pip install x");
  expect(alert?.querySelector("b, i")).toBeNull();
});

test("an error of the background goes when it is dismissed", async () => {
  const host = { problem: signal<Problem | null>(PROBLEM) };
  const root = show(<BackgroundError host={host} />);
  await settle(() => button("Dismiss this message").click());
  expect(root.textContent).toBe("");
});

test("a busy kernel is told of, in a region that screen readers read out", async () => {
  const isBusy = signal(false);
  const root = show(<BusyNote host={{ isBusy }} />);
  expect(root.textContent).toBe("");
  await settle(() => (isBusy.value = true));
  expect(root.querySelector('[role="status"]')?.textContent).toContain("busy with a cell");
});

test("a panel that waits long says so, but not in a page that never has a kernel", async () => {
  vi.useFakeTimers();
  const host = new Host(new FakeKernel(["one"]));
  const root = show(<ConnectionNote host={host} />);
  const saved = show(
    <div class="jupyter-widgets-disconnected">
      <ConnectionNote host={host} />
    </div>,
  );
  expect(root.textContent).toBe("");
  await settle(() => vi.advanceTimersByTime(WAITING_MS));
  expect(root.textContent).toContain("Waiting for the kernel");
  expect(saved.textContent).toBe("");
});
