/** An element that holds nodes which were made elsewhere. They are not made anew, and never become text between. */

import { h } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface FragmentProps {
  as: "code" | "span" | "div";
  fragment: DocumentFragment;
  class?: string;
}

export function Fragment({ as, fragment, class: name }: FragmentProps) {
  const holder = useRef<HTMLElement>(null);
  useLayoutEffect(() => holder.current?.replaceChildren(fragment.cloneNode(true)), [fragment]);
  return h(as, { ref: holder, class: name ?? "" });
}
