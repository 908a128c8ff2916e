/** The devices: whose their memory is, how busy and warm they are, and freeing what nobody uses. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  BackgroundError,
  BusyNote,
  Button,
  Dismiss,
  ErrorNote,
  formats,
  useAction,
  useUniqueId,
  type PartHost,
  type PartProps,
} from "../base";
import { MemoryBar } from "./bar";
import { Curve, SPAN_S } from "./curve";
import type { Device, GPUSlices, Sample } from "./values";

export function GPUPanel({ host }: PartProps<GPUSlices>) {
  const devices = host.slice("devices").value ?? [];
  const samples = useSamples(host);
  const free = useAction(() => host.call("free"));
  const explanation = useUniqueId();
  return (
    <section class="farm-frame farm-gpu" aria-label="Devices">
      <header class="farm-head">
        <h3>Devices</h3>
        <span class="farm-gpu-explanation" id={explanation}>
          unloads idle models, and tells what still holds memory
        </span>
        <Button onClick={free.run} isRunning={free.isRunning.value} describedBy={explanation}>
          {free.isRunning.value ? "Freeing…" : "Free"}
        </Button>
      </header>
      <BusyNote host={host} />
      <ErrorNote problem={free.problem.value} onDismiss={() => (free.problem.value = null)} />
      <BackgroundError host={host} />
      <Freed host={host} />
      {devices.map((each) => (
        <Card key={each.id} device={each} samples={samples} />
      ))}
      {(host.slice("problems").value ?? []).map((each) => (
        <p key={each} class="farm-gpu-problem">
          {each}
        </p>
      ))}
    </section>
  );
}

function Card({ device, samples }: { device: Device; samples: readonly Sample[] }) {
  const power = [device.power_w, device.power_limit_w].filter((watts) => watts !== null);
  return (
    <article class="farm-gpu-device" aria-label={device.id}>
      <h4>
        {device.id} <span>{device.detail ? `${device.name} (${device.detail})` : device.name}</span>
      </h4>
      <MemoryBar device={device} />
      <dl class="farm-gpu-figures">
        <div>
          <dt>memory</dt>
          <dd>
            {formats.bytes(device.used_bytes)} of {formats.bytes(device.total_bytes)}
            <Curve samples={samples} device={device.id} figure="memory" most={1} />
          </dd>
        </div>
        <div>
          <dt>load</dt>
          <dd>
            {formats.percent(device.utilization)}
            <Curve samples={samples} device={device.id} figure="load" most={1} />
          </dd>
        </div>
        {device.temperature_c === null ? null : (
          <div>
            <dt>temperature</dt>
            <dd>
              {device.temperature_c.toFixed(0)} °C
              <Curve samples={samples} device={device.id} figure="temperature_c" most={100} />
            </dd>
          </div>
        )}
        {device.power_w === null ? null : (
          <div>
            <dt>power</dt>
            <dd>
              {power.map((watts) => watts.toFixed(0)).join(" of ")} W
              <Curve samples={samples} device={device.id} figure="power_w" most={device.power_limit_w} />
            </dd>
          </div>
        )}
      </dl>
    </article>
  );
}

/** What freeing came to, as `%farm free` tells it. */
function Freed({ host }: { host: PartHost<GPUSlices> }) {
  const freed = host.slice("freed").value;
  const dismissed = useSignal(0);
  if (!freed || freed.at === dismissed.value) return null;
  return (
    <div class="farm-note" role="status">
      <div class="farm-note-text">
        <strong>Freed at {formats.clockTime(freed.at)}</strong>
        <span>{freed.lines.join("\n")}</span>
      </div>
      <Dismiss onClick={() => (dismissed.value = freed.at)} />
    </div>
  );
}

/** The samples of the last minutes: those that the kernel has kept, and those that came since. */
function useSamples(host: PartHost<GPUSlices>): readonly Sample[] {
  const kept = host.slice("samples").value ?? [];
  const since = useSignal<readonly Sample[]>([]);
  useEffect(
    () =>
      host.on<Sample>("sample", (sample) => {
        const recent = since.peek().filter((each) => each.at >= sample.at - SPAN_S);
        since.value = [...recent, sample];
      }),
    [host],
  );
  const last = kept.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  const all = [...kept, ...since.value.filter((each) => each.at > last)];
  const end = all.at(-1)?.at ?? 0;
  return all.filter((each) => each.at >= end - SPAN_S);
}
