/** What was said, in order; while something is asked anew, without what that will replace. */

import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { CodeAction } from "../markdown";
import type { ChatHost } from "./state";
import { AttemptView, TurnView } from "./turn";
import { Welcome } from "./welcome";

/** The latest turns are there at once, earlier ones follow, some in each frame. */
const AT_ONCE = 12;
const A_FRAME = 2;

export interface TranscriptProps {
  host: ChatHost;
  codeActions: readonly CodeAction[];
  onExample: (prompt: string) => void;
}

export function Transcript({ host, codeActions, onExample }: TranscriptProps) {
  const elements = useMemo(() => new Map<string, VNode>(), [host, codeActions]);
  const attempt = host.slice("attempt").value;
  const names = present(host);
  const hidden = useHidden(names.length);
  if (!names.length && !attempt) return <Welcome onChoose={onExample} />;
  /** The same element again is not rendered again. */
  const element = (name: string, isLast: boolean): VNode => {
    const key = `${name} ${isLast}`;
    const made = elements.get(key) ?? (
      <TurnView key={name} host={host} name={name} isLast={isLast} codeActions={codeActions} />
    );
    elements.set(key, made);
    return made;
  };
  return (
    <>
      {names.slice(hidden).map((name) => element(name, name === names.at(-1)))}
      {attempt ? <AttemptView host={host} attempt={attempt} /> : null}
    </>
  );
}

function present(host: ChatHost): string[] {
  const running = host.slice("running").value;
  const turns = host.slice("turns").value ?? [];
  return running ? [...turns.slice(0, running.keep ?? turns.length), running.name] : turns;
}

/** How many of the first turns are not in the page yet. */
function useHidden(count: number): number {
  const hidden = useSignal(Math.max(0, count - AT_ONCE));
  useEffect(() => {
    if (!hidden.value) return undefined;
    const frame = requestAnimationFrame(() => (hidden.value = Math.max(0, hidden.peek() - A_FRAME)));
    return () => cancelAnimationFrame(frame);
  }, [hidden.value]);
  return Math.min(hidden.value, count);
}
