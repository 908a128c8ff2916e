/** A chart with a bar a day, of one piece a model. The table below the charts tells the same in words. */

import { byDay, OTHERS, type Row } from "./values";

const WIDTH = 320;
const HEIGHT = 72;

interface BarsProps {
  title: string;
  rows: readonly Row[];
  days: readonly string[];
  models: readonly string[];
  figure: (row: Row) => number;
  /** A figure in words, for the greatest day and for each bar. */
  words: (value: number) => string;
  /** What is drawn on top of the models' pieces, in grey. */
  extra?: (row: Row) => number;
}

export function Bars({ title, rows, days, models, figure, words, extra = () => 0 }: BarsProps) {
  const top = Math.max(...byDay(rows, days, (row) => figure(row) + extra(row)), 0);
  const step = WIDTH / Math.max(days.length, 7); // a single day is no wall
  return (
    <figure class="farm-usage-chart">
      <figcaption>
        {title} <span>{top > 0 ? `up to ${words(top)}` : "none"}</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label(title, rows, days, figure, words)}>
        {days.map((day, index) => {
          const ofDay = rows.filter((row) => row.day === day);
          const x = WIDTH - (days.length - index) * step;
          return (
            <g key={day}>
              <title>{`${day}: ${words(ofDay.reduce((sum, row) => sum + figure(row), 0))}`}</title>
              <rect class="farm-usage-hover" x={x} y="0" width={step} height={HEIGHT} />
              {pieces(ofDay, models, figure, extra).map(({ look, from, to }) => (
                <rect
                  key={look}
                  class={look}
                  x={x + 0.1 * step}
                  width={0.8 * step}
                  y={top ? HEIGHT * (1 - to / top) : HEIGHT}
                  height={top ? (HEIGHT * (to - from)) / top : 0}
                />
              ))}
            </g>
          );
        })}
      </svg>
      <div class="farm-usage-ends" aria-hidden="true">
        <span>{days[0]}</span>
        <span>{days.length > 1 ? days.at(-1) : ""}</span>
      </div>
    </figure>
  );
}

interface Piece {
  look: string;
  from: number;
  to: number;
}

/** The pieces of one bar from the bottom up. */
function pieces(
  rows: readonly Row[],
  models: readonly string[],
  figure: (row: Row) => number,
  extra: (row: Row) => number,
): Piece[] {
  const found: Piece[] = [];
  let below = 0;
  const add = (look: string, value: number): void => {
    if (value > 0) found.push({ look, from: below, to: below + value });
    below += value;
  };
  models.forEach((model, index) => {
    const its = rows.filter((row) => (model === OTHERS ? !models.includes(row.key) : row.key === model));
    add(`farm-usage-model-${index}`, its.reduce((sum, row) => sum + figure(row), 0));
  });
  add("farm-usage-extra", rows.reduce((sum, row) => sum + extra(row), 0));
  return found;
}

function label(
  title: string,
  rows: readonly Row[],
  days: readonly string[],
  figure: (row: Row) => number,
  words: (value: number) => string,
): string {
  const values = byDay(rows, days, figure);
  const told = days.map((day, index) => `${day} ${words(values[index] ?? 0)}`).slice(-14);
  return `${title} by day: ${told.join(", ") || "none"}`;
}
