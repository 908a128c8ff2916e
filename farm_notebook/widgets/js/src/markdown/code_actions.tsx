/** The buttons above a code block: copying, and what the panel adds. */

import { useSignal } from "@preact/signals";
import { createContext } from "preact";
import { useContext, useEffect, useRef } from "preact/hooks";
import { copyText } from "./clipboard";

/** A code block as an action gets it. */
export interface Code {
  text: string;
  /** As the model wrote it, in small letters: "python"; "" if it did not say. */
  language: string;
}

/** Something that a panel offers for code. */
export interface CodeAction {
  label: string;
  title?: string;
  isFor?: (code: Code) => boolean;
  run: (code: Code) => void | Promise<void>;
  /** What the button says when it is done. */
  done?: string;
}

/** How long a button says what came of it. */
export const SAID_MS = 2_000;

const COPY: CodeAction = { label: "Copy", title: "Copy this code", run: ({ text }) => copyText(text), done: "Copied" };

/** The panel's actions for all code of an answer. */
export const CodeActions = createContext<readonly CodeAction[]>([]);

export function CodeToolbar({ code, isOpen }: { code: Code; isOpen: boolean }) {
  const actions = useContext(CodeActions).filter((each) => each.isFor?.(code) ?? true);
  return (
    <span class="farm-code-buttons">
      {[COPY, ...actions].map((each) => (
        <ActionButton key={each.label} action={each} code={code} isOpen={isOpen && each !== COPY} />
      ))}
    </span>
  );
}

function ActionButton({ action, code, isOpen }: { action: CodeAction; code: Code; isOpen: boolean }) {
  const said = useSignal<string | null>(null);
  const isRunning = useSignal(false);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const run = async (): Promise<void> => {
    if (isRunning.peek()) return;
    isRunning.value = true;
    try {
      await action.run(code);
      said.value = action.done ?? null;
    } catch (error) {
      said.value = `Failed: ${error instanceof Error ? error.message : String(error)}`;
    }
    isRunning.value = false;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => (said.value = null), SAID_MS);
  };
  return (
    <button
      type="button"
      class="farm-code-button"
      disabled={isOpen}
      aria-disabled={isRunning.value}
      {...(action.title === undefined ? {} : { title: action.title })}
      onClick={() => void run()}
    >
      {said.value ?? action.label}
    </button>
  );
}
