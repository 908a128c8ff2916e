/** What a panel says of itself: an error where it happened, a kernel that is busy or gone. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Host, PartHost, Problem } from "./host";

/** How long a panel waits for its state before it says so. */
export const WAITING_MS = 2_000;

/** What widget managers put around a view whose widget was restored from a saved notebook. */
const WITHOUT_KERNEL = ".jupyter-widgets-disconnected";

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
      {onDismiss && <Dismiss onClick={onDismiss} />}
    </div>
  );
}

/** Takes a note away. */
export function Dismiss({ onClick }: { onClick: () => void }) {
  return (
    <button type="button" class="farm-dismiss" aria-label="Dismiss this message" onClick={onClick}>
      ×
    </button>
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

/** Says that there is no state yet, or no kernel any more. In a saved page nothing is said: the static output is. */
export function ConnectionNote({ host }: { host: Host }) {
  const place = useRef<HTMLDivElement>(null);
  const hasWaited = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => (hasWaited.value = !place.current?.closest(WITHOUT_KERNEL)), WAITING_MS);
    return () => clearTimeout(timer);
  }, []);
  let text = "";
  if (host.connection.value === "gone") text = "The kernel of this panel is gone. Run its cell again.";
  else if (host.connection.value === "waiting" && hasWaited.value) text = "Waiting for the kernel.";
  return (
    <div ref={place} class="farm-live" role="status">
      {text && <div class="farm-note">{text}</div>}
    </div>
  );
}
