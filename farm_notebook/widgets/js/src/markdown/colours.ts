/** The colours of one code block: all of it when it is finished and near what is seen, its first lines now and then while it grows. */

import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { spelt, REORDERING } from "./addresses";
import { highlight } from "./highlight";
import { whenNear } from "./near";

/** Code in colours, and of which text: the first lines of the block, without the last one's end. */
export interface Coloured {
  text: string;
  fragment: DocumentFragment;
}

/** How often code that grows is coloured anew, and up to which length: a small part of the time that passes. */
export const AGAIN_MS = 300;
export const GROWING_CHARS = 6_000;

export function useColours(text: string, language: string, isOpen: boolean, place: RefObject<Element | null>): Coloured | null {
  const coloured = useSignal<Coloured | null>(null);
  const latest = useRef(text);
  latest.current = text;
  const colour = (lines: string): void => {
    const fragment = lines ? highlight(lines, language) : undefined;
    if (fragment) coloured.value = { text: lines, fragment: withoutReordering(fragment) };
  };
  useEffect(() => {
    if (isOpen || !place.current) return undefined;
    return whenNear(place.current, () => colour(text));
  }, [text, language, isOpen]);
  useEffect(() => {
    if (!isOpen || !place.current) return undefined;
    let takeBack = (): void => {};
    const timer = setInterval(() => {
      const lines = wholeLines(latest.current);
      if (lines.length > GROWING_CHARS || lines === coloured.peek()?.text || !place.current) return;
      takeBack();
      takeBack = whenNear(place.current, () => colour(lines));
    }, AGAIN_MS);
    return () => {
      clearInterval(timer);
      takeBack();
    };
  }, [language, isOpen]);
  const { value } = coloured;
  return value && text.startsWith(value.text) && /^(?:$|\n)/.test(text.slice(value.text.length, value.text.length + 1))
    ? value
    : null;
}

function wholeLines(text: string): string {
  return text.slice(0, Math.max(0, text.lastIndexOf("\n"))).replace(/\n+$/, "");
}

/** Characters that turn the order around are spelt out. */
function withoutReordering(fragment: DocumentFragment): DocumentFragment {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeValue ?? "";
    if (text.search(REORDERING) >= 0) node.nodeValue = text.replace(REORDERING, spelt);
  }
  return fragment;
}
