/** Elements for the blocks of an answer. */

import type { Token, Tokens } from "marked";
import { createContext, h, type ComponentChildren, type VNode } from "preact";
import { useContext, useRef } from "preact/hooks";
import { CodeBlock } from "./code";
import type { FormulaToken } from "./grammar";
import { formula, inline } from "./inline";
import { useScrollable } from "./scrollable";

/** The level that the first level of headings gets. */
export const HeadingLevel = createContext(4);

/** Deeper nesting is shown as text. */
const MOST_DEPTH = 20;

export function blocks(tokens: readonly Token[] | undefined, isOpen: boolean, depth = 0): ComponentChildren {
  const shown = (tokens ?? []).filter((each) => each.type !== "space" && each.type !== "def");
  return shown.map((each, index) => block(each, isOpen && index === shown.length - 1, depth));
}

/** One block; `isOpen` if more of it may come. */
export function block(token: Token, isOpen: boolean, depth = 0): VNode {
  if (depth > MOST_DEPTH) return <p>{token.raw}</p>;
  switch (token.type) {
    case "heading":
      return <Heading depth={(token as Tokens.Heading).depth}>{inline(token.tokens)}</Heading>;
    case "code":
      return <CodeBlock {...codeOf(token as Tokens.Code)} isOpen={isOpen} />;
    case "blockquote":
      return <blockquote>{blocks(token.tokens, isOpen, depth + 1)}</blockquote>;
    case "list":
      return list(token as Tokens.List, isOpen, depth);
    case "table":
      return <Table token={token as Tokens.Table} />;
    case "hr":
      return <hr />;
    case "formula":
      return <div>{formula(token as FormulaToken)}</div>;
    case "checkbox":
      return <>{inline([token])}</>;
    case "text":
      return <>{inline("tokens" in token && token.tokens ? token.tokens : [token])}</>;
    default:
      return <p>{"tokens" in token ? inline(token.tokens) : token.raw}</p>;
  }
}

/** The code and its language, without blank lines at its end and without what may follow the language. */
export function codeOf({ text, lang = "" }: Tokens.Code): { text: string; language: string } {
  return { text: text.replace(/\n+$/, ""), language: lang.trim().split(/[\s\\{]/, 1)[0] ?? "" };
}

function Heading({ depth, children }: { depth: number; children: ComponentChildren }) {
  const level = Math.min(6, useContext(HeadingLevel) + depth - 1);
  return h(`h${level}`, { class: `farm-heading farm-heading-${depth}` }, children);
}

function list({ ordered, start, items }: Tokens.List, isOpen: boolean, depth: number): VNode {
  const content = items.map((item, index) => (
    <li key={index} class={item.task ? "farm-task-item" : ""}>
      {blocks(item.tokens, isOpen && index === items.length - 1, depth + 1)}
    </li>
  ));
  return ordered ? <ol start={Number(start)}>{content}</ol> : <ul>{content}</ul>;
}

function Table({ token }: { token: Tokens.Table }) {
  const frame = useRef<HTMLDivElement>(null);
  useScrollable(frame, "Table");
  const cells = (row: Tokens.TableCell[], tag: "th" | "td") =>
    row.map((cell) =>
      h(tag, { class: cell.align ? `farm-${cell.align}` : "", ...(tag === "th" ? { scope: "col" } : {}) }, inline(cell.tokens)),
    );
  return (
    <div class="farm-table" ref={frame}>
      <table>
        <thead>
          <tr>{cells(token.header, "th")}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, index) => (
            <tr key={index}>{cells(row, "td")}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
