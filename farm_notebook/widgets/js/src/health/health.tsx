/** The providers' state: who can answer, what to do about who cannot, and what went wrong last. */

import { BackgroundError, BusyNote, Button, ErrorNote, formats, useAction, type PartProps } from "../base";

interface Provider {
  name: string;
  healthy: boolean;
  detail: string;
  fix: string | null;
}

interface LastError {
  detail: string;
  /** Seconds since the epoch. */
  at: number;
}

/** As `HealthPart.slices` in `health.py`. */
export interface HealthSlices {
  providers: Provider[];
  last_errors: Record<string, LastError>;
  checked_at: number | null;
  is_checking: boolean;
}

export function HealthPanel({ host }: PartProps<HealthSlices>) {
  const providers = host.slice("providers").value ?? [];
  const lastErrors = host.slice("last_errors").value ?? {};
  const isChecking = host.slice("is_checking").value ?? false;
  const refresh = useAction(() => host.call("refresh"));
  return (
    <section class="farm-frame farm-health" aria-label="Health of the providers">
      <header class="farm-head">
        <h3>Providers</h3>
        <span class="farm-health-time" role="status">
          {isChecking ? "asking…" : checked(host.slice("checked_at").value)}
        </span>
        <Button onClick={refresh.run} isRunning={isChecking || refresh.isRunning.value}>
          Refresh
        </Button>
      </header>
      <BusyNote host={host} />
      <ErrorNote problem={refresh.problem.value} onDismiss={() => (refresh.problem.value = null)} />
      <BackgroundError host={host} />
      <ul class="farm-health-list">
        {providers.map((each) => (
          <Row key={each.name} provider={each} lastError={lastErrors[each.name]} />
        ))}
      </ul>
    </section>
  );
}

function Row({ provider, lastError }: { provider: Provider; lastError: LastError | undefined }) {
  return (
    <li class="farm-health-row">
      <span class={`farm-dot farm-dot-${provider.healthy ? "good" : "bad"}`} aria-hidden="true" />
      <div>
        <strong>{provider.name}</strong>{" "}
        <span class={provider.healthy ? "farm-good" : "farm-bad"}>{provider.healthy ? "ok" : "not ok"}</span>
        <p>{provider.detail}</p>
        {provider.fix === null ? null : <p class="farm-health-fix">{provider.fix}</p>}
        {provider.healthy && lastError ? (
          <p class="farm-health-last">
            last error at {formats.clockTime(lastError.at)}: {lastError.detail}
          </p>
        ) : null}
      </div>
    </li>
  );
}

function checked(at: number | null | undefined): string {
  return typeof at === "number" ? `asked at ${formats.clockTime(at)}` : "not asked yet";
}
