/** The Markdown that models write: GFM with formulas, in which HTML is text but for a few plain tags.
 *
 * What comes out are tokens; `blocks.tsx` and `inline.tsx` make elements of them. No HTML is made of Markdown.
 */

import { Lexer, Marked, Tokenizer, type Links, type Token, type TokenizerExtension, type Tokens } from "marked";

/** A formula; `isOpen` when its end has not come yet. */
export interface FormulaToken extends Tokens.Generic {
  type: "formula";
  text: string;
  isDisplay: boolean;
  isOpen: boolean;
}

/** The start or end of a plain tag such as `<sub>`. */
export interface TagToken extends Tokens.Generic {
  type: "html";
  name: string;
  isEnd: boolean;
}

/** Tags that mean something in an answer; they are taken without attributes only. */
const TAG = /^<(\/?)(b|br|code|del|em|i|ins|kbd|mark|s|small|strong|sub|sup|u)[ \t]*(\/?)>/i;

/** How far the end of an emphasis is looked for: the time for a text of stars is quadratic in it. */
const EMPHASIS_CHARS = 1_000;

const FORMULA_CHARS = 4_000;

/** How far the next formula is looked for at once; the text before it is taken in steps of so much. */
const AHEAD_CHARS = 400;

const BLANK_LINE = /\n[ \t]*\n/;
const PAIRS = [
  { begin: "$$", end: "$$", isDisplay: true },
  { begin: "\\[", end: "\\]", isDisplay: true },
  { begin: "\\(", end: "\\)", isDisplay: false },
];

/** The end of `$…$` is neither after a space nor before a digit or a word: prices and shell variables are none. */
const DOLLAR = /^\$(?![\s$])((?:\\[^]|[^\\$]){1,1000}?)(?<!\s)\$(?![\d$]|(?!(?:th|st|nd|rd|s)\b)[A-Za-z])/;

/** Whether a formula without an end is taken for one that is still being written. */
let mayBeOpen = false;

const blockFormula: TokenizerExtension = {
  name: "blockFormula",
  level: "block",
  start: (source) => source.match(/\n {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer: (source) => {
    const indent = /^ {0,3}(?=\$\$|\\\[)/.exec(source)?.[0].length;
    const found = indent === undefined ? undefined : pair(source.slice(indent));
    const after = found && /^[ \t]*(?:\n+|$)/.exec(source.slice((indent ?? 0) + found.raw.length));
    if (!found || !after || BLANK_LINE.test(found.raw)) return undefined;
    return { ...found, raw: source.slice(0, (indent ?? 0) + found.raw.length + after[0].length) };
  },
};

const inlineFormula: TokenizerExtension = {
  name: "inlineFormula",
  level: "inline",
  start: (source) => {
    const found = source.slice(0, AHEAD_CHARS).search(/(?<![\w$\\])\$|\\[([]/);
    return found >= 0 ? found : source.length > AHEAD_CHARS ? AHEAD_CHARS : undefined;
  },
  tokenizer: (source) => {
    if (source[0] !== "$" && source[0] !== "\\") return undefined;
    const dollar = DOLLAR.exec(source);
    if (dollar?.[1]) return formula(dollar[0], dollar[1], false);
    const isOpen = mayBeOpen && source.length < FORMULA_CHARS && PAIRS.some((each) => source.startsWith(each.begin));
    return pair(source) ?? (isOpen ? { ...formula(source, source, false), isOpen } : undefined);
  },
};

/** The formula at the start of a text, if it has an end. */
function pair(source: string): FormulaToken | undefined {
  const { begin, end, isDisplay } = PAIRS.find((each) => source.startsWith(each.begin)) ?? {};
  if (begin === undefined || end === undefined || isDisplay === undefined) return undefined;
  const at = source.slice(0, FORMULA_CHARS).indexOf(end, begin.length);
  const tex = source.slice(begin.length, at);
  return at > 0 && tex.trim() ? formula(source.slice(0, at + end.length), tex, isDisplay) : undefined;
}

function formula(raw: string, text: string, isDisplay: boolean): FormulaToken {
  return { type: "formula", raw, text: text.trim(), isDisplay, isOpen: false };
}

const plain = new Tokenizer();

const marked = new Marked({
  extensions: [blockFormula, inlineFormula],
  tokenizer: {
    html: () => undefined,
    tag(source) {
      const found = TAG.exec(source);
      if (!found) return undefined;
      const [raw, slash, name = ""] = found;
      return { type: "html", raw, text: raw, name: name.toLowerCase(), isEnd: slash !== "" } as unknown as Tokens.Tag;
    },
    emStrong(source, masked, before) {
      if (source.length <= EMPHASIS_CHARS) return false;
      plain.rules = this.rules;
      plain.lexer = this.lexer;
      const ahead = masked.slice(masked.length - source.length).slice(0, EMPHASIS_CHARS);
      return plain.emStrong(source.slice(0, EMPHASIS_CHARS), ahead, before);
    },
  },
});

/** The blocks of a text.
 *
 * Args:
 *   links: The definitions known so far, `[label]: address`; those of this text are added.
 *   isOpen: The text goes on: a formula without an end is a token of its own.
 */
export function parse(source: string, links: Links, isOpen = false): Token[] {
  const lexer = new Lexer(marked.defaults);
  lexer.tokens.links = links;
  mayBeOpen = isOpen;
  try {
    return lexer.lex(source);
  } catch {
    // Thousands of quotes in quotes are too deep for the parser.
    return [{ type: "paragraph", raw: source, text: source, tokens: [{ type: "escape", raw: source, text: source }] }];
  } finally {
    mayBeOpen = false;
  }
}
