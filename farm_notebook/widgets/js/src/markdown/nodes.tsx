/** An element for nodes that were made elsewhere. They are put in as they are, and never parsed again as HTML. */

import { h } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface NodesProps {
  as: "code" | "span" | "div";
  fragment: DocumentFragment;
  class?: string;
}

export function Nodes({ as, fragment, class: name }: NodesProps) {
  const holder = useRef<HTMLElement>(null);
  useLayoutEffect(() => holder.current?.replaceChildren(fragment.cloneNode(true)), [fragment]);
  return h(as, { ref: holder, ...(name === undefined ? {} : { class: name }) });
}
