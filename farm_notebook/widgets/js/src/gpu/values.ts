/** What the kernel tells of devices; as `GPUPart.slices` in `gpu.py`. */

export interface Share {
  ref: string;
  size_bytes: number;
}

export interface Device {
  id: string;
  kind: "cpu" | "cuda" | "rocm" | "mps";
  name: string;
  total_bytes: number;
  used_bytes: number;
  free_bytes: number;
  ours_bytes: number | null;
  /** 0 to 1. */
  utilization: number | null;
  temperature_c: number | null;
  power_w: number | null;
  power_limit_w: number | null;
  models: Share[];
  detail: string;
}

/** What is drawn as a curve; `memory` and `load` are shares of one. */
export type Figure = "memory" | "load" | "temperature_c" | "power_w";

/** The figures of all devices at one time, in seconds since the epoch. */
export interface Sample {
  at: number;
  devices: Record<string, Record<Figure, number | null>>;
}

export interface GPUSlices {
  devices: Device[];
  samples: Sample[];
  problems: string[];
  freed: { at: number; lines: string[] } | null;
}

/** A stretch of a device's memory. */
export interface Stretch {
  kind: "model" | "ours" | "others" | "free";
  label: string;
  bytes: number;
}

/** Whose the memory of a device is, so that the stretches make up the whole of it. */
export function stretches(device: Device): Stretch[] {
  const models = [...device.models].sort((one, other) => other.size_bytes - one.size_bytes);
  const used = Math.min(device.used_bytes, device.total_bytes);
  let left = used;
  const found: Stretch[] = [];
  const take = (kind: Stretch["kind"], label: string, wanted: number): void => {
    const bytes = Math.min(left, wanted); // drivers and models may disagree on a few bytes
    if (bytes > 0) found.push({ kind, label, bytes });
    left -= Math.max(0, bytes);
  };
  for (const model of models) take("model", model.ref, model.size_bytes);
  const ofModels = models.reduce((sum, model) => sum + model.size_bytes, 0);
  if (device.ours_bytes !== null) take("ours", "the rest of this kernel", device.ours_bytes - ofModels);
  take("others", device.ours_bytes === null ? "other" : "other processes", left);
  found.push({ kind: "free", label: "free", bytes: device.total_bytes - used });
  return found;
}
