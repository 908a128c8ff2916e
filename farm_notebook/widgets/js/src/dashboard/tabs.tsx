/** Several panels in one place, of which one is seen at a time.
 *
 * Keys as in https://www.w3.org/WAI/ARIA/apg/patterns/tabs/, version of 2024, with automatic activation.
 */

import type { ComponentChild } from "preact";
import { useRef } from "preact/hooks";
import { useUniqueId } from "../base";

export interface Tab {
  name: string;
  title: string;
  content: ComponentChild;
}

interface TabsProps {
  label: string;
  tabs: readonly Tab[];
  open: string;
  onOpen: (name: string) => void;
}

export function Tabs({ label, tabs, open, onOpen }: TabsProps) {
  const id = useUniqueId();
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const index = tabs.findIndex((tab) => tab.name === open);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab scrolls by these keys
    const at = (next + tabs.length) % tabs.length;
    const tab = tabs[at];
    if (tab) onOpen(tab.name);
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[at]?.focus();
  };
  return (
    <>
      <div class="farm-tabs" role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown}>
        {tabs.map(({ name, title }) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-${name}`}
            aria-controls={`${id}-${name}-panel`}
            aria-selected={name === open}
            tabIndex={name === open ? 0 : -1}
            onClick={() => onOpen(name)}
          >
            {title}
          </button>
        ))}
      </div>
      {tabs.map(({ name, content }) => (
        <div
          key={name}
          class="farm-tab-panel"
          role="tabpanel"
          id={`${id}-${name}-panel`}
          aria-labelledby={`${id}-${name}`}
          hidden={name !== open}
        >
          {content}
        </div>
      ))}
    </>
  );
}
