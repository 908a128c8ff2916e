/** What calls came to: requests, tokens, cost, speed and kept answers, day by day and by model. */

import { BackgroundError, BusyNote, ErrorNote, formats, useAction, useUniqueId, type PartProps } from "../base";
import { Bars } from "./bars";
import { days, PERIODS, ranked, type Period, type Row, type UsageSlices } from "./values";

const TITLES = ["model", "requests", "kept", "failed", "tokens in", "out", "cost", "first token", "tokens/s"];

export function UsagePanel({ host }: PartProps<UsageSlices>) {
  const choose = useAction((period: Period) => host.call("choose", { period }));
  const daily = host.slice("daily").value ?? [];
  const rows = host.slice("rows").value ?? [];
  const all = days(daily);
  const models = ranked(daily);
  const shared = { rows: daily, days: all, models };
  return (
    <section class="farm-frame farm-usage" aria-label="Usage">
      <header class="farm-head">
        <h3>Usage</h3>
        <Periods chosen={host.slice("period").value ?? "7d"} onChoose={choose.run} />
      </header>
      <BusyNote host={host} />
      <ErrorNote problem={choose.problem.value} onDismiss={() => (choose.problem.value = null)} />
      <BackgroundError host={host} />
      {rows.length > 0 && (
        <>
          <ul class="farm-usage-legend">
            {models.map((model, index) => (
              <li key={model}>
                <span class={`farm-usage-model-${index}`} />
                {model}
              </li>
            ))}
            {daily.some((row) => row.cached > 0) && (
              <li>
                <span class="farm-usage-extra" />
                kept answers
              </li>
            )}
          </ul>
          <div class="farm-usage-charts">
            <Bars {...shared} title="Requests" figure={(row) => row.requests} extra={(row) => row.cached} words={formats.count} />
            <Bars {...shared} title="Tokens" figure={(row) => row.input_tokens + row.output_tokens} words={formats.count} />
            <Bars {...shared} title="Cost" figure={(row) => row.cost} words={formats.dollars} />
            <Bars {...shared} title="First token, slowest model" figure={slowest(daily)} words={formats.duration} />
          </div>
          <Figures rows={rows} total={host.slice("total").value} />
        </>
      )}
      <p class="farm-usage-note">{host.slice("note").value}</p>
    </section>
  );
}

/** How far back; a radio group, so that the arrow keys go through it. */
function Periods({ chosen, onChoose }: { chosen: Period; onChoose: (period: Period) => void }) {
  const group = useUniqueId();
  return (
    <fieldset class="farm-usage-periods">
      <legend class="farm-unseen">How far back</legend>
      {Object.entries(PERIODS).map(([period, words]) => (
        <label key={period}>
          <input
            type="radio"
            name={group}
            checked={period === chosen}
            onChange={() => onChoose(period as Period)}
          />
          {words}
        </label>
      ))}
    </fieldset>
  );
}

function Figures({ rows, total }: { rows: readonly Row[]; total: Row | undefined }) {
  const shown = total && rows.length > 1 ? [...rows, total] : rows;
  return (
    <div class="farm-usage-scroll" tabIndex={0} role="region" aria-label="Figures by model">
      <table class="farm-usage-table">
        <thead>
          <tr>
            {TITLES.map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={row.key} class={row === total ? "farm-usage-total" : ""}>
              <th scope="row" title={row.key}>
                {row.key || "(unknown)"}
              </th>
              <td>{formats.count(row.requests)}</td>
              <td>{formats.count(row.cached)}</td>
              <td>{formats.count(row.failed)}</td>
              <td>{formats.count(row.input_tokens)}</td>
              <td>{formats.count(row.output_tokens)}</td>
              <td>{cost(row)}</td>
              <td>{formats.duration(row.first_token_median_s)}</td>
              <td>{formats.count(row.tokens_per_s_median)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** "$0.12 + ?" where the price of some requests is not known. */
function cost({ cost: dollars, unpriced, requests, failed, cancelled }: Row): string {
  const isPriced = dollars > 0 || unpriced < requests - failed - cancelled;
  if (!isPriced && unpriced > 0) return formats.UNKNOWN;
  return formats.dollars(dollars) + (unpriced > 0 ? " + ?" : "");
}

/** The median of the slowest model of a day: medians cannot be added up. */
function slowest(daily: readonly Row[]): (row: Row) => number {
  const worst = new Map<string, Row>();
  for (const row of daily) {
    const known = worst.get(row.day);
    if ((row.first_token_median_s ?? 0) > (known?.first_token_median_s ?? 0)) worst.set(row.day, row);
  }
  return (row) => (worst.get(row.day) === row ? (row.first_token_median_s ?? 0) : 0);
}
