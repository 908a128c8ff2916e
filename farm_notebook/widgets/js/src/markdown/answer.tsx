/** A model's answer, drawn while it streams. */

import { useSignal, useSignalEffect, type ReadonlySignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { block, HeadingLevel } from "./blocks";
import { CodeActions, type CodeAction } from "./code_actions";
import { AnswerDocument, type Block, type Section } from "./document";
import { hasTimeAtOnce, inFrames } from "./frames";
import { useAsSignal } from "./values";

export interface AnswerProps {
  /** The whole text so far. */
  text: string | ReadonlySignal<string>;
  isStreaming?: boolean | ReadonlySignal<boolean>;
  /** What the panel offers for code, besides copying it. */
  codeActions?: readonly CodeAction[];
  /** The level that `#` gets, 1 to 6. */
  headingLevel?: number;
}

/** Drawing takes at most one part in so many of the time, however much there is in the last block. */
const PAUSE = 3;

const NO_ACTIONS: readonly CodeAction[] = [];

/** An estimate of what is not drawn yet, so that what is below does not jump far. */
const CHARS_PER_LINE = 60;

export function Answer({ text, isStreaming = false, codeActions = NO_ACTIONS, headingLevel = 4 }: AnswerProps) {
  const { sections, last, restChars } = useDocument(text, isStreaming);
  return (
    <CodeActions.Provider value={codeActions}>
      <HeadingLevel.Provider value={headingLevel}>
        <div class="farm-answer">
          {sections.map(drawn)}
          {drawn(last)}
          {restChars > CHARS_PER_LINE ? <Rest lines={restChars / CHARS_PER_LINE} /> : null}
        </div>
      </HeadingLevel.Provider>
    </CodeActions.Provider>
  );
}

function useDocument(text: AnswerProps["text"], isStreaming: boolean | ReadonlySignal<boolean>): AnswerDocument {
  const answer = useMemo(() => new AnswerDocument(), []);
  const source = useAsSignal(text);
  const isGrowing = useAsSignal(isStreaming);
  const version = useSignal(0);
  const draw = useMemo(() => drawing(answer, () => (version.value += 1)), []);
  useMemo(() => {
    answer.update(source.peek(), !isGrowing.peek());
    if (hasTimeAtOnce()) answer.advance(hasTimeAtOnce);
  }, []);
  useSignalEffect(() => {
    answer.update(source.value, !isGrowing.value);
    if (!answer.isSettled) draw.begin();
  });
  useEffect(() => draw.end, []);
  void version.value;
  return answer;
}

/** Parses in slices of frames, with pauses in proportion to what it took, and tells when there is something to draw. */
function drawing(answer: AnswerDocument, tell: () => void): { begin: () => void; end: () => void } {
  let end: (() => void) | undefined;
  let notBefore = 0;
  const slice = (hasTime: () => boolean): boolean => {
    const began = performance.now();
    if (began < notBefore) return true;
    const hasMore = answer.advance(hasTime);
    tell();
    // Drawing follows in this frame; it takes about as long as parsing.
    notBefore = performance.now() + PAUSE * (performance.now() - began);
    if (!hasMore) end = undefined;
    return hasMore;
  };
  return {
    begin: () => void (end ??= inFrames(slice)),
    end: () => {
      end?.();
      end = undefined;
    },
  };
}

const known = new WeakMap<object, VNode>();

function drawn(section: Section): VNode {
  return remembered(section, () => (
    <div key={section.key} class="farm-section">
      {section.blocks.map(drawnBlock)}
    </div>
  ));
}

function drawnBlock(each: Block): VNode {
  return remembered(each, () => <Shown key={each.key} block={each} />);
}

/** The same element again is not compared with what is on the page. */
function remembered(of: object, make: () => VNode): VNode {
  const made = known.get(of) ?? make();
  known.set(of, made);
  return made;
}

function Shown({ block: { token, isOpen } }: { block: Block }) {
  return block(token, isOpen);
}

function Rest({ lines }: { lines: number }) {
  return <div class="farm-rest" aria-hidden="true" style={{ height: `${Math.ceil(lines * 1.6)}em` }} />;
}
