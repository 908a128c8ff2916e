/** A picture of an answer. None is loaded from anywhere unless the reader says so: its address can tell secrets. */

import { useSignal } from "@preact/signals";
import { isPictureData, pictureTarget } from "./addresses";

export function Picture({ address, alt, title }: { address: string; alt: string; title: string | null }) {
  const isWanted = useSignal(false);
  const hasFailed = useSignal(false);
  const target = pictureTarget(address);
  const source = isPictureData(address) ? address : isWanted.value ? target?.href : undefined;
  if (source && !hasFailed.value) {
    return (
      <img
        class="farm-picture"
        src={source}
        alt={alt}
        title={title ?? ""}
        loading="lazy"
        decoding="async"
        referrerpolicy="no-referrer"
        onError={() => (hasFailed.value = true)}
      />
    );
  }
  return (
    <span class="farm-picture-note">
      <span>{alt || "Picture"}</span>
      {hasFailed.value ? (
        <span class="farm-picture-place">it cannot be shown</span>
      ) : target ? (
        <button type="button" class="farm-code-button" title={target.href} onClick={() => (isWanted.value = true)}>
          Load it from {target.place}
        </button>
      ) : (
        <span class="farm-picture-place">not shown: no address that can be loaded</span>
      )}
    </span>
  );
}
