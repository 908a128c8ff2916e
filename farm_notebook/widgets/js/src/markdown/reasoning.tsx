/** What a model thought before it answered, folded away. */

import { useSignal, type ReadonlySignal } from "@preact/signals";
import { Answer } from "./answer";
import { useValue } from "./values";

export interface ReasoningProps {
  text: string | ReadonlySignal<string>;
  isStreaming?: boolean | ReadonlySignal<boolean>;
  /** How long it took, in words such as "3.4 s". */
  took?: string;
}

export function Reasoning({ text, isStreaming = false, took }: ReasoningProps) {
  const isOpen = useSignal(false);
  const isThinking = useValue(isStreaming);
  if (!hasText(text)) return null;
  return (
    <details class="farm-reasoning" open={isOpen.value} onToggle={(event) => (isOpen.value = event.currentTarget.open)}>
      <summary>{isThinking ? "Thinking…" : took === undefined ? "Thoughts" : `Thought for ${took}`}</summary>
      {isOpen.value ? <Answer text={text} isStreaming={isStreaming} headingLevel={5} /> : null}
    </details>
  );
}

function hasText(text: string | ReadonlySignal<string>): boolean {
  return (typeof text === "string" ? text : text.value) !== "";
}
