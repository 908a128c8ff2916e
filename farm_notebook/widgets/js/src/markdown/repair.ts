/** What half a construct looks like while the rest of it is still to come. */

import type { Token } from "marked";

/** What can become a mark of the next block or a longer mark: it is not shown before it is clear. */
const UNCLEAR = /(?:^|\n)[ \t]*(?:[-=*+_]{1,3}|#{1,6}|\d{1,9}[.)]|`{1,2}|>)[ \t]*$/;
const HALF_LINK = /!?\[([^[\]\n]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+"[^"\n]*)?$/;
const HALF_TABLE = /(?:^|\n)(\|[^\n]*\|)[ \t]*(?:\n[|:\- ]*)?$/;
const HALF_ROW = /(?:^|\n)\|[^\n|]*$/;
const FORMULA = /\$\$|\\\(|\\\[/;

/** The source of the last block as it is to be shown; `undefined` if it is to be shown as it is. */
export function repair(source: string, tokens: readonly Token[]): string | undefined {
  if (endsInCode(tokens)) return undefined;
  let text = source.replace(UNCLEAR, "").replace(HALF_LINK, "$1");
  text = asTable(text, tokens);
  text = text.replace(/[*_~]+$/, "");
  const from = text.lastIndexOf("\n\n") + 1;
  const end = text.slice(from);
  if (count(end, /`/g) % 2) text += "`";
  else for (const mark of ["**", "~~"]) if (isLeftOpen(end, mark)) text += mark;
  return text === source && !FORMULA.test(source) ? undefined : text;
}

/** Where a formula of several lines begins that has no end yet. */
export function openFormulaAt(source: string): number | undefined {
  const from = [...source.matchAll(/\n[ \t]*\n/g)].at(-1)?.index ?? 0;
  const end = source.slice(from);
  const dollars = [...end.matchAll(/(?:^|\n) {0,3}\$\$/g)].at(-1);
  if (dollars && count(end, /\$\$/g) % 2) return from + dollars.index;
  const bracket = [...end.matchAll(/(?:^|\n) {0,3}\\\[/g)].at(-1);
  return bracket && !end.includes("\\]", bracket.index) ? from + bracket.index : undefined;
}

/** A first row is one of a table if it looks so, before its second line says it. */
function asTable(text: string, tokens: readonly Token[]): string {
  if (tokens.at(-1)?.type !== "paragraph") return text.replace(HALF_ROW, "");
  const found = HALF_TABLE.exec(text);
  if (!found?.[1]) return text;
  const columns = found[1].split(/(?<!\\)\|/).length - 2;
  return `${text.slice(0, found.index)}\n${found[1]}\n${"|---".repeat(columns)}|\n`;
}

function endsInCode(tokens: readonly Token[]): boolean {
  const last = tokens.findLast((each) => each.type !== "space");
  if (!last) return false;
  if (last.type === "code") return true;
  const inner = last.type === "list" ? last.items?.at(-1)?.tokens : last.type === "blockquote" ? last.tokens : undefined;
  return inner ? endsInCode(inner) : false;
}

function isLeftOpen(text: string, mark: string): boolean {
  const last = text.lastIndexOf(mark);
  return text.split(mark).length % 2 === 0 && /\S/.test(text[last + mark.length] ?? "");
}

function count(text: string, rule: RegExp): number {
  return text.match(rule)?.length ?? 0;
}
