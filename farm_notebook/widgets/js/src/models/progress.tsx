/** How far a load is: a bar, how much of how much, how fast, how long it will take, and how to stop it. */

import { formats } from "../base";
import type { Work } from "./values";

const STAGES = { fetch: "Fetching", verify: "Verifying", load: "Loading" } as const;
const KINDS = { load: "Loading", pull: "Fetching", reload: "Reloading", unload: "Unloading" } as const;

export function Progress({ name, work, onCancel }: { name: string; work: Work; onCancel: () => void }) {
  const share = work.total_bytes && work.completed_bytes !== null ? Math.min(1, work.completed_bytes / work.total_bytes) : null;
  const doing = work.stage ? STAGES[work.stage] : KINDS[work.kind];
  return (
    <div class="farm-models-progress">
      <div
        class={`farm-models-bar${share === null ? " farm-models-bar-moving" : ""}`}
        role="progressbar"
        aria-label={`${doing} ${name}`}
        {...(share === null ? {} : { "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.floor(share * 100) })}
      >
        <span style={share === null ? {} : { width: `${share * 100}%` }} />
      </div>
      <span class="farm-models-pace">{work.is_stopping ? "Stopping…" : words(work, doing)}</span>
      <button type="button" aria-label={`Cancel: ${doing} ${name}`} disabled={work.is_stopping} onClick={onCancel}>
        Cancel
      </button>
    </div>
  );
}

/** "Fetching 45 MB of 98 MB, 12 MB/s, 4.4 s left". */
export function words(work: Work, doing: string): string {
  const to = work.device && work.stage === "load" ? ` to ${work.device}` : "";
  if (!work.completed_bytes) {
    return work.total_bytes && work.stage ? `${doing}${to}: ${formats.bytes(work.total_bytes)}` : `${doing}${to}…`;
  }
  const total = work.total_bytes ? ` of ${formats.bytes(work.total_bytes)}` : "";
  const speed = work.bytes_per_s ? `, ${formats.bytes(work.bytes_per_s)}/s` : "";
  const left = work.remaining_s !== null && work.remaining_s >= 0.5 ? `, ${formats.duration(work.remaining_s)} left` : "";
  return `${doing}${to && `${to}:`} ${formats.bytes(work.completed_bytes)}${total}${speed}${left}`;
}
