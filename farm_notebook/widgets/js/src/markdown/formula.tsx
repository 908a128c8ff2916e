/** A formula as MathML; its source where it is none, or is still being written. */

import temml from "temml";
import { useMemo, useRef } from "preact/hooks";
import { Nodes } from "./nodes";
import { cleanFormula } from "./sanitize";
import { useScrollable } from "./scrollable";

const MOST_KNOWN = 500;
const known = new Map<string, DocumentFragment | null>();

export function Formula({ tex, isDisplay, isOpen }: { tex: string; isDisplay: boolean; isOpen: boolean }) {
  const fragment = useMemo(() => (isOpen ? null : mathml(tex, isDisplay)), [tex, isDisplay, isOpen]);
  if (!fragment) return <code class="farm-formula-source">{tex}</code>;
  if (!isDisplay) return <Nodes as="span" class="farm-formula" fragment={fragment} />;
  return <Display fragment={fragment} />;
}

function Display({ fragment }: { fragment: DocumentFragment }) {
  const frame = useRef<HTMLDivElement>(null);
  useScrollable(frame, "Formula");
  return (
    <span class="farm-formula-display" ref={frame}>
      <Nodes as="span" fragment={fragment} />
    </span>
  );
}

/** `null` if it is no formula. Commands that would load or address something are errors. */
export function mathml(tex: string, isDisplay: boolean): DocumentFragment | null {
  const key = `${isDisplay}${tex}`;
  let fragment = known.get(key);
  if (fragment !== undefined) return fragment;
  try {
    const markup = temml.renderToString(tex, {
      displayMode: isDisplay,
      throwOnError: true,
      trust: false,
      maxSize: [40, 400],
      maxExpand: 300,
      wrap: "none",
    });
    fragment = cleanFormula(markup);
  } catch {
    fragment = null;
  }
  if (known.size >= MOST_KNOWN) known.delete(known.keys().next().value ?? "");
  known.set(key, fragment);
  return fragment;
}
