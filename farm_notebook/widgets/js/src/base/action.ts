/** Something that a control does: one call, whether it is under way, and the error it ended with. */

import { useSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import { CallError, type Problem } from "./host";

export interface Action<Args extends unknown[]> {
  /** Begin, unless it is under way. */
  run: (...args: Args) => void;
  isRunning: ReadonlySignal<boolean>;
  /** What it failed with last; set it to `null` to dismiss. */
  problem: Signal<Problem | null>;
}

/** A control's action; its error is for an `ErrorNote` beside the control. */
export function useAction<Args extends unknown[]>(work: (...args: Args) => Promise<void>): Action<Args> {
  const isRunning = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const run = (...args: Args): void => {
    if (isRunning.peek()) return;
    isRunning.value = true;
    problem.value = null;
    work(...args)
      .catch((error: unknown) => (problem.value = asProblem(error)))
      .finally(() => (isRunning.value = false));
  };
  return { run, isRunning, problem };
}

/** Any error in words for the page. */
export function asProblem(error: unknown): Problem {
  if (error instanceof CallError) return error.problem;
  return { title: "Something went wrong in this page", message: String(error), fix: null };
}
