import { afterEach, expect, test } from "vitest";
import { button, clear, settle, show } from "../testing";
import { asProblem, useAction } from "./action";
import { Button } from "./button";
import { CallError } from "./host";
import { ErrorNote } from "./notes";

const PROBLEM = { title: "No", message: "it failed", fix: null };

function Panel({ work }: { work: () => Promise<void> }) {
  const action = useAction(work);
  return (
    <>
      <Button onClick={action.run} isRunning={action.isRunning.value}>
        Go
      </Button>
      <ErrorNote problem={action.problem.value} />
    </>
  );
}

afterEach(clear);

test("an action shows that it is under way, and does not begin twice", async () => {
  const ends: (() => void)[] = [];
  show(<Panel work={() => new Promise<void>((resolve) => ends.push(resolve))} />);
  await settle(() => button("Go").click());
  expect(button("Go").getAttribute("aria-busy")).toBe("true");
  await settle(() => button("Go").click());
  expect(ends).toHaveLength(1);
  await settle(() => ends[0]?.());
  expect(button("Go").getAttribute("aria-busy")).toBe("false");
});

test("an action's error stands beside it, until it is tried again", async () => {
  const errors = [new CallError(PROBLEM)];
  const root = show(<Panel work={() => (errors.length ? Promise.reject(errors.pop()) : Promise.resolve())} />);
  await settle(() => button("Go").click());
  expect(root.querySelector('[role="alert"]')?.textContent).toBe("Noit failed");
  await settle(() => button("Go").click());
  expect(root.querySelector('[role="alert"]')).toBeNull();
});

test("an error of the page itself is told as well", () => {
  expect(asProblem(new TypeError("x is not a function")).message).toContain("x is not a function");
});
