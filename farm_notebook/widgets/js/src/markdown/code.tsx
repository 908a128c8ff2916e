/** A block of code: its language, its buttons, and its lines, which can be scrolled with the keyboard. */

import { useSignal } from "@preact/signals";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import { REORDERING } from "./addresses";
import { CodeToolbar } from "./code_actions";
import { Nodes } from "./nodes";
import { highlight, languageName, whenNear } from "./highlight";

export interface CodeBlockProps {
  text: string;
  language: string;
  /** Whether more of it may come: it is plain until then. */
  isOpen: boolean;
}

/** Lines are laid out in pieces, so that a line more does not lay out all again. */
const PIECE_CHARS = 2_000;

export function CodeBlock({ text, language, isOpen }: CodeBlockProps) {
  const id = useId();
  const frame = useRef<HTMLPreElement>(null);
  const coloured = useSignal<{ of: string; fragment: DocumentFragment } | null>(null);
  const name = useMemo(() => languageName(language), [language]);
  useEffect(() => {
    if (isOpen || !frame.current) return undefined;
    return whenNear(frame.current, () => {
      const fragment = highlight(text, language);
      if (fragment) coloured.value = { of: text, fragment: marked(fragment) };
    });
  }, [text, language, isOpen]);
  const colours = coloured.value?.of === text ? coloured.value.fragment : undefined;
  return (
    <div class="farm-code">
      <div class="farm-code-head">
        <span class="farm-code-language" id={id}>
          {name || "Code"}
        </span>
        <CodeToolbar code={{ text, language: language.toLowerCase() }} isOpen={isOpen} />
      </div>
      <pre class="farm-code-lines" ref={frame} tabIndex={0} role="region" aria-label={`Code: ${name || "plain"}`}>
        {colours ? <Nodes key="colours" as="code" fragment={colours} /> : <Plain key="plain" text={text} />}
      </pre>
    </div>
  );
}

function Plain({ text }: { text: string }) {
  const pieces = useRef<{ text: string; ends: number[] }>({ text: "", ends: [] });
  if (!text.startsWith(pieces.current.text)) pieces.current.ends = [];
  pieces.current.text = text;
  const ends = cut(text, pieces.current.ends);
  return (
    <code>
      {[...ends, text.length].map((end, index) => (
        <Piece key={index} text={text.slice(index ? (ends[index - 1] ?? 0) + 1 : 0, end)} />
      ))}
    </code>
  );
}

function Piece({ text }: { text: string }) {
  return useMemo(() => <span class="farm-code-piece">{shown(text)}</span>, [text]);
}

/** Adds where pieces end: at a line's end, after a line that is not empty, so that each piece is whole lines. */
function cut(text: string, ends: number[]): number[] {
  for (;;) {
    let end = (ends.at(-1) ?? -1) + PIECE_CHARS;
    while (end < text.length && !(text[end] === "\n" && text[end - 1] !== "\n")) end += 1;
    if (end >= text.length - 1) return ends;
    ends.push(end);
  }
}

/** Text in which characters that turn the order around are spelt out. */
function shown(text: string) {
  if (text.search(REORDERING) < 0) return text;
  return text.split(/([\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])/).map((part, index) =>
    index % 2 ? (
      <span key={index} class="farm-code-hidden">
        {spelt(part)}
      </span>
    ) : (
      part
    ),
  );
}

/** The same for code in colours. */
function marked(fragment: DocumentFragment): DocumentFragment {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeValue ?? "";
    if (text.search(REORDERING) >= 0) node.nodeValue = text.replace(REORDERING, spelt);
  }
  return fragment;
}

function spelt(character: string): string {
  return `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}
