/** What a panel says of itself: an error where it happened, a kernel that is busy or gone. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Host, PartHost, Problem } from "./host";

/** How long a panel waits for its state before it says so. */
export const WAITING_MS = 2_000;

/** An error with what to do about it. */
export function ErrorNote({ problem, onDismiss }: { problem: Problem | null; onDismiss?: () => void }) {
  if (!problem) return null;
  return (
    <div class="farm-note farm-note-error" role="alert">
      <div class="farm-note-text">
        <strong>{problem.title}</strong>
        <span>{problem.message}</span>
        {problem.fix === null ? null : <code>{problem.fix}</code>}
      </div>
      {onDismiss && (
        <button type="button" class="farm-dismiss" aria-label="Dismiss this message" onClick={onDismiss}>
          ×
        </button>
      )}
    </div>
  );
}

/** Says that calls wait for the kernel. */
export function BusyNote({ host }: { host: Pick<PartHost, "isBusy"> }) {
  return (
    <div class="farm-live" role="status">
      {host.isBusy.value && (
        <div class="farm-note">The kernel is busy with a cell; what you asked for will be done when it is free.</div>
      )}
    </div>
  );
}

/** The last error of the part's work in the background. */
export function BackgroundError({ host }: { host: Pick<PartHost, "problem"> }) {
  return <ErrorNote problem={host.problem.value} onDismiss={() => (host.problem.value = null)} />;
}

/** Says that there is no state yet, or no kernel any more. */
export function ConnectionNote({ host }: { host: Host }) {
  const hasWaited = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => (hasWaited.value = true), WAITING_MS);
    return () => clearTimeout(timer);
  }, []);
  if (host.connection.value === "gone") {
    return (
      <div class="farm-note" role="status">
        The kernel of this panel is gone. Run its cell again.
      </div>
    );
  }
  if (host.connection.value === "waiting" && hasWaited.value && !isSavedPage()) {
    return (
      <div class="farm-note" role="status">
        Waiting for the kernel. If it has ended, run this cell again.
      </div>
    );
  }
  return null;
}

/** Whether this is a page that nbconvert made: it holds the widgets' state itself, and will never have a kernel. */
function isSavedPage(): boolean {
  return document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]') !== null;
}
