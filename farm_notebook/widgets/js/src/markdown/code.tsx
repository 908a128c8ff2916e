/** A block of code: its language, its buttons, and its lines, which can be scrolled with the keyboard. */

import { useMemo, useRef } from "preact/hooks";
import { REORDERING, spelt } from "./addresses";
import { CodeToolbar } from "./code_actions";
import { useColours, type Coloured } from "./colours";
import { languageName } from "./highlight";
import { Nodes } from "./nodes";

export interface CodeBlockProps {
  text: string;
  language: string;
  /** Whether more of it may come. */
  isOpen: boolean;
}

/** Lines are laid out in pieces, so that a line more does not lay out all again. */
const PIECE_CHARS = 2_000;

export function CodeBlock({ text, language, isOpen }: CodeBlockProps) {
  const lines = useRef<HTMLPreElement>(null);
  const name = useMemo(() => languageName(language), [language]);
  const coloured = useColours(text, language, isOpen, lines);
  return (
    <div class="farm-code">
      <div class="farm-code-head">
        <span class="farm-code-language">{name || "Code"}</span>
        <CodeToolbar code={{ text, language: language.toLowerCase() }} isOpen={isOpen} />
      </div>
      <pre class="farm-code-lines" ref={lines} tabIndex={0} role="region" aria-label={`Code: ${name || "plain"}`}>
        <Lines text={text} coloured={coloured} />
      </pre>
    </div>
  );
}

/** Those in colours, and those that are not coloured yet. */
function Lines({ text, coloured }: { text: string; coloured: Coloured | null }) {
  const rest = coloured ? text.slice(coloured.text.length + 1) : text;
  return (
    <code>
      {coloured && <Nodes key="coloured" as="span" class="farm-code-piece" fragment={coloured.fragment} />}
      {coloured && coloured.text.length === text.length ? null : <Plain key="plain" text={rest} />}
    </code>
  );
}

function Plain({ text }: { text: string }) {
  const pieces = useRef<{ text: string; ends: number[] }>({ text: "", ends: [] });
  if (!text.startsWith(pieces.current.text)) pieces.current.ends = [];
  pieces.current.text = text;
  const ends = cut(text, pieces.current.ends);
  return (
    <>
      {[...ends, text.length].map((end, index) => (
        <Piece key={index} text={text.slice(index ? (ends[index - 1] ?? 0) + 1 : 0, end)} />
      ))}
    </>
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
  const parts = text.split(new RegExp(`(${REORDERING.source})`));
  return parts.map((part, index) =>
    index % 2 ? (
      <span key={index} class="farm-code-hidden">
        {spelt(part)}
      </span>
    ) : (
      part
    ),
  );
}
