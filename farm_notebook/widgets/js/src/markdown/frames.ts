/** Work that is done in slices, at most once a frame and for a few milliseconds of it. */

/** How much of a frame all slices together may take; the rest is for drawing what they made. */
export const SLICE_MS = 6;

/** Pages that are not in front get no frames. */
const HIDDEN_MS = 250;

/** One slice of something; answers whether there is more to do. `hasTime` tells whether it may go on. */
export type Job = (hasTime: () => boolean) => boolean;

const jobs = new Set<Job>();
let stop: (() => void) | undefined;
let burstBegan = Number.NEGATIVE_INFINITY;

/** Do this in the next frame, and go on in later ones while there is more to do. */
export function inFrames(job: Job): () => void {
  jobs.add(job);
  stop ??= onFrame(work);
  return () => void jobs.delete(job);
}

/** Whether something may be done at once. Many answers that appear together share one slice. */
export function hasTimeAtOnce(): boolean {
  const now = performance.now();
  if (now - burstBegan > 10 * SLICE_MS) burstBegan = now;
  return now - burstBegan < SLICE_MS;
}

function work(): void {
  stop = undefined;
  const end = performance.now() + SLICE_MS;
  const hasTime = (): boolean => performance.now() < end;
  // What has come last is most likely what the reader looks at.
  for (const job of [...jobs].reverse()) {
    jobs.delete(job);
    if (!hasTime() || job(hasTime)) jobs.add(job);
  }
  if (jobs.size) stop ??= onFrame(work);
}

/** Call once in the next frame, or soon if there are none; returns what takes it back. */
export function onFrame(run: () => void): () => void {
  const take = (): void => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  const once = (): void => {
    take();
    run();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, HIDDEN_MS);
  return take;
}
