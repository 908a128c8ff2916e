/** Something that opens below a button: it closes with Escape and by a click elsewhere, and gives the focus back. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useUniqueId } from "../base";

export interface PopoverProps {
  /** The button's name, with its present value where it has one. */
  label: string;
  /** What the button shows. */
  face: ComponentChildren;
  /** What it opens is, for screen readers. */
  kind: "dialog" | "listbox" | "menu";
  align?: "start" | "end";
  onOpen?: () => void;
  children: (close: () => void) => ComponentChildren;
}

export function Popover({ label, face, kind, align = "start", onOpen, children }: PopoverProps) {
  const isOpen = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useUniqueId();
  const close = (): void => {
    isOpen.value = false;
    button.current?.focus();
  };
  useEffect(() => {
    if (!isOpen.value) return undefined;
    const leave = (event: Event): void => {
      if (!event.composedPath().includes(root.current as EventTarget)) isOpen.value = false;
    };
    document.addEventListener("pointerdown", leave, true);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave, true);
      document.removeEventListener("focusin", leave);
    };
  }, [isOpen.value]);
  return (
    <div
      class="farm-popover"
      ref={root}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !isOpen.peek()) return;
        event.stopPropagation();
        close();
      }}
    >
      <button
        type="button"
        ref={button}
        class="farm-popover-button"
        aria-label={label}
        title={label}
        aria-haspopup={kind}
        aria-expanded={isOpen.value}
        {...(isOpen.value ? { "aria-controls": id } : {})}
        onClick={() => {
          isOpen.value = !isOpen.peek();
          if (isOpen.peek()) onOpen?.();
        }}
      >
        {face}
      </button>
      {isOpen.value && (
        <div id={id} class={`farm-popover-box farm-popover-${align}`}>
          {children(close)}
        </div>
      )}
    </div>
  );
}
