/** What the kernel tells of calls; as `UsagePart.slices` in `usage.py`. */

/** What the calls of one model came to, on one day where `day` is not empty. */
export interface Row {
  /** The model. */
  key: string;
  /** As 2026-01-31. */
  day: string;
  requests: number;
  cached: number;
  refused: number;
  failed: number;
  cancelled: number;
  input_tokens: number;
  output_tokens: number;
  uncounted: number;
  /** US dollars, of the requests whose price is known. */
  cost: number;
  unpriced: number;
  first_token_median_s: number | null;
  tokens_per_s_median: number | null;
}

export const PERIODS = { "1d": "a day", "7d": "a week", "30d": "30 days", all: "all" } as const;
export type Period = keyof typeof PERIODS;

export interface UsageSlices {
  period: Period;
  rows: Row[];
  total: Row;
  daily: Row[];
  note: string;
}

/** How many models have a colour of their own; further ones share the last. */
export const COLOURS = 6;

export const OTHERS = "other models";

/** The models by how often they were asked, the most asked first; those that were asked least are one. */
export function ranked(rows: readonly Row[]): string[] {
  const asked = new Map<string, number>();
  for (const row of rows) asked.set(row.key, (asked.get(row.key) ?? 0) + row.requests + row.cached);
  const names = [...asked.keys()].sort((one, other) => (asked.get(other) ?? 0) - (asked.get(one) ?? 0));
  return names.length <= COLOURS ? names : [...names.slice(0, COLOURS - 1), OTHERS];
}

/** Every day from the first to the last, also those without calls. */
export function days(rows: readonly Row[]): string[] {
  const known = rows.map((row) => row.day).sort();
  const first = known[0];
  const last = known.at(-1);
  if (first === undefined || last === undefined) return [];
  const found: string[] = [];
  for (let day = new Date(`${first}T00:00Z`); found.at(-1) !== last; day.setUTCDate(day.getUTCDate() + 1)) {
    found.push(day.toISOString().slice(0, 10));
  }
  return found;
}

/** One figure for each day, summed over models. */
export function byDay(rows: readonly Row[], all: readonly string[], figure: (row: Row) => number): number[] {
  return all.map((day) => rows.filter((row) => row.day === day).reduce((sum, row) => sum + figure(row), 0));
}
