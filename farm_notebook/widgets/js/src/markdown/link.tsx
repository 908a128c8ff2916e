/** A link of an answer: it opens a page of its own, and says where it really leads. */

import type { ComponentChildren } from "preact";
import { isMisleading, linkTarget, seen } from "./addresses";

export interface LinkProps {
  address: string;
  /** What its content says. */
  label: string;
  title: string | null;
  children: ComponentChildren;
}

export function Link({ address, label, title, children }: LinkProps) {
  const target = linkTarget(address);
  if (!target) return <span class="farm-link-dead">{children}</span>;
  const about = title ? `${seen(title)}\n` : "";
  return (
    <>
      <a
        class="farm-link"
        href={target.href}
        target="_blank"
        rel="noopener noreferrer"
        title={`${about}${target.place}\n${target.href}`}
        data-place={target.place}
      >
        <bdi>{children}</bdi>
      </a>
      {isMisleading(label, target) ? <bdi class="farm-link-place"> ({target.place})</bdi> : null}
    </>
  );
}
