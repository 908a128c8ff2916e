/** A curve of the last minutes, small enough to stand in a line of text. What it shows is told in words beside it. */

import type { Figure, Sample } from "./values";

/** How far back it goes. */
export const SPAN_S = 300;

/** Looks further apart than this are not joined: nobody has looked in between. */
export const GAP_S = 5;

const WIDTH = 120;
const HEIGHT = 24;

interface CurveProps {
  samples: readonly Sample[];
  device: string;
  figure: Figure;
  /** The value at the upper edge; without one the greatest that is shown. */
  most?: number | null;
}

export function Curve({ samples, device, figure, most }: CurveProps) {
  const points = pointsOf(samples, device, figure);
  const top = most ?? Math.max(...points.map(([, value]) => value), 1);
  return (
    <svg class="farm-gpu-curve" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={path(points, top)} />
    </svg>
  );
}

type Point = readonly [at: number, value: number];

function pointsOf(samples: readonly Sample[], device: string, figure: Figure): Point[] {
  return samples.flatMap(({ at, devices }): Point[] => {
    const value = devices[device]?.[figure];
    return typeof value === "number" ? [[at, value]] : [];
  });
}

/** The curve with the latest point at the right edge. */
export function path(points: readonly Point[], top: number): string {
  const end = points.at(-1)?.[0] ?? 0;
  let before = Number.NEGATIVE_INFINITY;
  const steps = points.map(([at, value]) => {
    const x = WIDTH * (1 - (end - at) / SPAN_S);
    const y = 1 + (HEIGHT - 2) * (1 - Math.min(1, Math.max(0, value / top)));
    const isJoined = at - before <= GAP_S;
    before = at;
    return `${isJoined ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return steps.join("");
}
