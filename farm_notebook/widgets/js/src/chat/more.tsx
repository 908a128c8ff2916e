/** What can be done with the whole conversation. */

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { ChatHost } from "./state";

export interface MoreProps {
  /** Do something with the conversation; the panel tells what came of it. */
  onExport: (kind: ExportKind) => void;
  onForget: () => void;
  /** Whether the page can put cells into the notebook. */
  takesCells: boolean;
}

export type ExportKind = "cells" | "markdown" | "notebook";

export function More({ host, close, onExport, onForget, takesCells }: MoreProps & { host: ChatHost; close: () => void }) {
  const isSure = useSignal(false);
  const list = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => items(list.current)[0]?.focus(), []);
  const isEmpty = host.slice("turns").value?.length === 0;
  const isBusy = Boolean(host.slice("running").value);
  const exported = (kind: ExportKind) => () => {
    close();
    onExport(kind);
  };
  return (
    <div class="farm-menu" role="menu" aria-label="More" ref={list} onKeyDown={(event) => move(event, list.current)}>
      {takesCells && <Item label="Add to the notebook as Markdown cells" isDisabled={isEmpty} onClick={exported("cells")} />}
      <Item label="Save as a notebook file" isDisabled={isEmpty} onClick={exported("notebook")} />
      <Item label="Copy as Markdown" isDisabled={isEmpty} onClick={exported("markdown")} />
      <div class="farm-menu-line" role="separator" />
      <Item
        label={isSure.value ? "Really forget it? Press again" : "Forget this conversation"}
        isDanger
        isDisabled={isBusy || (isEmpty && !host.slice("attempt").value)}
        onClick={() => {
          if (!isSure.peek()) return void (isSure.value = true);
          close();
          return onForget();
        }}
      />
    </div>
  );
}

interface ItemProps {
  label: string;
  onClick: () => void;
  isDisabled?: boolean;
  isDanger?: boolean;
}

function Item({ label, onClick, isDisabled = false, isDanger = false }: ItemProps) {
  return (
    <button
      type="button"
      role="menuitem"
      class={`farm-menu-item ${isDanger ? "farm-bad" : ""}`}
      tabIndex={-1}
      aria-disabled={isDisabled}
      onClick={() => isDisabled || onClick()}
    >
      {label}
    </button>
  );
}

function items(list: HTMLElement | null): HTMLElement[] {
  return [...(list?.querySelectorAll<HTMLElement>('[role="menuitem"]') ?? [])];
}

function move(event: KeyboardEvent, list: HTMLElement | null): void {
  const all = items(list);
  const at = all.indexOf(event.target as HTMLElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (next === undefined || !all.length) return;
  event.preventDefault();
  all.at(next % all.length)?.focus();
}
