/** Following the end, for components. */

import { useComputed, useSignal, type ReadonlySignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { Follower } from "./follow";

export interface Follow {
  /** For the element that scrolls. */
  scroller: RefObject<HTMLDivElement | null>;
  /** For the element in it that grows. */
  content: RefObject<HTMLDivElement | null>;
  isAtEnd: ReadonlySignal<boolean>;
  jumpToEnd: () => void;
}

export function useFollow(): Follow {
  const scroller = useRef<HTMLDivElement | null>(null);
  const content = useRef<HTMLDivElement | null>(null);
  const follower = useSignal<Follower | null>(null);
  useEffect(() => {
    if (!scroller.current || !content.current) return undefined;
    const made = new Follower(scroller.current, content.current);
    follower.value = made;
    return () => made.dispose();
  }, []);
  const isAtEnd = useComputed(() => follower.value?.isAtEnd.value ?? true);
  return useMemo(() => ({ scroller, content, isAtEnd, jumpToEnd: () => follower.peek()?.jumpToEnd() }), []);
}

/** A way back to the end, while the reader is elsewhere. */
export function JumpToEnd({ follow, label = "Jump to the end" }: { follow: Follow; label?: string }) {
  if (follow.isAtEnd.value) return null;
  return (
    <button type="button" class="farm-button farm-jump" aria-label={label} title={label} onClick={follow.jumpToEnd}>
      ↓
    </button>
  );
}
