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
const EMPHASIS_CHARS = 2_000;

const FORMULA_CHARS = 4_000;
const NOT_BLANK = String.raw`(?!\n[ \t]*\n)`;
const DOLLARS = new RegExp(String.raw`^ {0,3}\$\$((?:${NOT_BLANK}(?!\$\$)[^]){1,${FORMULA_CHARS}})\$\$[ \t]*(?:\n+|$)`);
const BRACKETS = new RegExp(String.raw`^ {0,3}\\\[((?:${NOT_BLANK}(?!\\\])[^]){1,${FORMULA_CHARS}})\\\][ \t]*(?:\n+|$)`);

/** The end of `$…$` is neither after a space nor before a digit or a word: prices and shell variables are none. */
const INLINE = [
  { rule: /^\$\$((?:(?!\$\$)[^]){1,4000})\$\$/, isDisplay: true },
  {
    rule: /^\$(?![\s$])((?:\\[^]|[^\\$]){1,1000}?)(?<!\s)\$(?![\d$]|(?!(?:th|st|nd|rd|s)\b)[A-Za-z])/,
    isDisplay: false,
  },
  { rule: /^\\\(((?:(?!\\\))[^]){1,4000})\\\)/, isDisplay: false },
  { rule: /^\\\[((?:(?!\\\])[^]){1,4000})\\\]/, isDisplay: true },
];

const OPEN = /^(?:\$\$|\\\(|\\\[)([^]{0,4000})$/;

/** Whether a formula without an end is taken for one that is still being written. */
let mayBeOpen = false;

const blockFormula: TokenizerExtension = {
  name: "blockFormula",
  level: "block",
  start: (source) => source.match(/\n {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer: (source) => {
    const found = DOLLARS.exec(source) ?? BRACKETS.exec(source);
    return found?.[1]?.trim() ? formula(found[0], found[1], true) : undefined;
  },
};

const inlineFormula: TokenizerExtension = {
  name: "inlineFormula",
  level: "inline",
  start: (source) => source.match(/(?<![\w$\\])\$|\\[([]/)?.index,
  tokenizer: (source) => {
    for (const { rule, isDisplay } of INLINE) {
      const found = rule.exec(source);
      if (found?.[1]?.trim()) return formula(found[0], found[1], isDisplay);
    }
    const found = mayBeOpen ? OPEN.exec(source) : null;
    return found ? { ...formula(found[0], found[0], false), isOpen: true } : undefined;
  },
};

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
