/** Figures as people read them. Unknown figures (`null`) are a dash, never a zero. */

export const UNKNOWN = "–";

const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"];

/** A number of bytes, in powers of ten as the command line tells them: "1.2 GB". */
export function bytes(count: number | null | undefined): string {
  if (!isFigure(count)) return UNKNOWN;
  let power = 0;
  let rest = count;
  while (Math.abs(rest) >= 999.5 && power < SIZES.length - 1) {
    rest /= 1000;
    power += 1;
  }
  return `${power > 0 && Math.abs(rest) < 9.95 ? rest.toFixed(1) : rest.toFixed(0)} ${SIZES[power]}`;
}

/** A span of time: "430 ms", "3.4 s", "2 min 5 s", "3 h 20 min". */
export function duration(seconds: number | null | undefined): string {
  if (!isFigure(seconds)) return UNKNOWN;
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A count with its thousands apart: "12,345". */
export function count(value: number | null | undefined): string {
  return isFigure(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : UNKNOWN;
}

/** US dollars, small ones with as many digits as tell something: "$1.25", "$0.0042". */
export function dollars(value: number | null | undefined): string {
  if (!isFigure(value)) return UNKNOWN;
  if (value === 0 || Math.abs(value) >= 0.995) return `$${value.toFixed(2)}`;
  return `$${Number(value.toPrecision(2)).toFixed(Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value)))))}`;
}

/** A share of one as a percentage: "42 %". */
export function percent(share: number | null | undefined): string {
  return isFigure(share) ? `${(share * 100).toFixed(0)} %` : UNKNOWN;
}

/** A moment, given in seconds since the epoch, as the clock of the reader shows it: "14:03:27". */
export function clockTime(at: number | null | undefined): string {
  if (!isFigure(at)) return UNKNOWN;
  return new Date(at * 1000).toLocaleTimeString("en-GB", { hour12: false });
}

function isFigure(value: number | null | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
