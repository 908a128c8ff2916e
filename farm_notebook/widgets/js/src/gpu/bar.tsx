/** A device's memory as one bar, each model with a colour of its own, and below it the same in words. */

import { formats } from "../base";
import { stretches, type Device, type Stretch } from "./values";

/** How many colours `gpu.css` has for models; further ones begin anew. */
const COLOURS = 6;

export function MemoryBar({ device }: { device: Device }) {
  const found = stretches(device);
  return (
    <>
      <div class="farm-gpu-bar" role="img" aria-label={`Memory of ${device.id}: ${inWords(found)}`}>
        {found.map((each, index) => (
          <span key={each.label} class={look(each, index)} style={{ flexGrow: each.bytes }} title={inWords([each])} />
        ))}
      </div>
      <ul class="farm-gpu-legend" aria-hidden="true">
        {found.map((each, index) => (
          <li key={each.label}>
            <span class={look(each, index)} />
            {each.label} <strong>{formats.bytes(each.bytes)}</strong>
          </li>
        ))}
      </ul>
    </>
  );
}

function look({ kind }: Stretch, index: number): string {
  return `farm-gpu-${kind}` + (kind === "model" ? ` farm-gpu-model-${index % COLOURS}` : "");
}

function inWords(found: readonly Stretch[]): string {
  return found.map((each) => `${each.label} ${formats.bytes(each.bytes)}`).join(", ");
}
