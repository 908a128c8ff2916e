/** A button. It can be focused while its work is under way, so that the keyboard does not lose its place. */

import type { ComponentChildren } from "preact";

export interface ButtonProps {
  onClick: () => void;
  children: ComponentChildren;
  /** What it does, where its content does not say it in words. */
  label?: string;
  /** The id of the element that explains it. */
  describedBy?: string;
  kind?: "plain" | "primary" | "danger";
  isRunning?: boolean;
  isDisabled?: boolean;
}

export function Button({ onClick, children, label, describedBy, kind = "plain", isRunning = false, isDisabled }: ButtonProps) {
  return (
    <button
      type="button"
      class={`farm-button farm-button-${kind}`}
      disabled={isDisabled ?? false}
      aria-disabled={isRunning}
      aria-busy={isRunning}
      {...(label === undefined ? {} : { "aria-label": label, title: label })}
      {...(describedBy === undefined ? {} : { "aria-describedby": describedBy })}
      onClick={() => isRunning || onClick()}
    >
      {children}
    </button>
  );
}
