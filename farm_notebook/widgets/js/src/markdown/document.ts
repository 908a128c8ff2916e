/** A text that grows, as blocks: each is parsed once when it is finished, only the last one again with every piece.
 *
 * Where a block ends depends on whole lines only, not on how the text came, so a streamed answer looks like a whole one.
 */

import type { Links, Token, Tokens } from "marked";
import { Fence } from "./fence";
import { parse } from "./grammar";
import { openFormulaAt, repair } from "./repair";

/** A block of the answer; the object stays the same while nothing in it changes. */
export interface Block {
  readonly key: number;
  readonly token: Token;
  /** Whether more of it may come. */
  readonly isOpen: boolean;
}

/** Blocks that stand together, so that a page that does not show them need not lay them out. */
export interface Section {
  readonly key: number;
  readonly blocks: readonly Block[];
  /** Of the source. */
  readonly chars: number;
}

/** Longer lists, tables and paragraphs are cut, so that the work for a piece does not grow with the answer. */
export const OPEN_CHARS = 8_000;

const SECTION_CHARS = 1_500;
const BLANK_LINES = /^(?:[ \t]*\n)+/;

/** The source of one answer, and what was made of it. */
export class AnswerDocument {
  /** Finished sections. */
  sections: Section[] = [];
  /** The section that still grows. */
  last: Section = { key: 0, blocks: [], chars: 0 };
  /** How much source was parsed, some of it repeatedly: what the work is measured by. */
  parsedChars = 0;

  #text = "";
  #isFinal = false;
  #at = 0; // where the first block begins that is not finished
  #window = OPEN_CHARS;
  #looked = -1; // up to where lines were looked at without one block of them being finished
  #head = ""; // the first two lines of a table that is continued
  #number: number | undefined; // of the next item in a list that is continued
  #fence: Fence | undefined;
  #links: Links = Object.create(null) as Links;
  #isSettled = true;
  #hasLateLinks = false;

  /** Whether all that has come is parsed. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** How much of the source is not parsed yet. */
  get restChars(): number {
    return this.#isSettled ? 0 : this.#text.length - this.#at;
  }

  /** Take the whole text so far; `advance` makes blocks of it. */
  update(source: string, isFinal: boolean): void {
    const text = source.includes("\r") ? source.replace(/\r\n?/g, "\n") : source;
    if (text === this.#text && isFinal === this.#isFinal) return;
    if (!text.startsWith(this.#text) || this.#isFinal) {
      this.#reset();
      this.#links = Object.create(null) as Links;
    }
    this.#text = text;
    this.#isFinal = isFinal;
    this.#isSettled = false;
  }

  /** Parse what has come; answers whether there is more to do when `hasTime` was over. */
  advance(hasTime: () => boolean): boolean {
    while (!this.#isSettled) {
      this.#step();
      if (!this.#isSettled && !hasTime()) return true;
    }
    return false;
  }

  #reset(): void {
    this.sections = [];
    this.last = { key: 0, blocks: [], chars: 0 };
    this.#at = 0;
    this.#window = OPEN_CHARS;
    this.#looked = -1;
    this.#head = "";
    this.#number = undefined;
    this.#fence = undefined;
    this.#hasLateLinks = false;
  }

  /** Finish some blocks, or show the open one and settle. */
  #step(): void {
    if (!this.#head && !this.#fence) this.#at += blankChars(this.#text.slice(this.#at, this.#at + this.#window));
    this.#fence ??= Fence.begin(this.#text, this.#at);
    if (this.#fence) return this.#stepFence(this.#fence);
    const source = this.#text.slice(this.#at, this.#at + this.#window);
    const isWhole = this.#at + source.length === this.#text.length;
    if (!source) return this.#settle();
    if (this.#finishStable(source)) return;
    const tokens = this.#parse(this.#head + source);
    if (!isWhole) return this.#cut(tokens, source);
    if (!this.#isFinal) return this.#showOpen(tokens, source);
    this.#finish(tokens, source.length);
    this.#settle();
  }

  /** Finish the blocks that more text cannot change: those before the last one of the lines that are whole. */
  #finishStable(source: string): boolean {
    const end = source.lastIndexOf("\n") + 1;
    if (this.#at + end === this.#looked) return false;
    this.#looked = this.#at + end;
    const lines = this.#head + source.slice(0, end);
    const tokens = this.#parse(lines);
    const stable = tokens.slice(0, tokens.findLastIndex((each) => each.type !== "space"));
    const formula = openFormulaAt(lines);
    while (formula !== undefined && stable.length && rawLength(stable) > formula) stable.pop();
    if (!stable.some((each) => each.type !== "space")) return false;
    this.#finish(stable, rawLength(stable) - this.#head.length);
    return true;
  }

  #stepFence(fence: Fence): void {
    this.#head = "";
    const before = fence.end;
    const hasEnded = fence.advance(this.#text, this.#isFinal);
    this.parsedChars += fence.end - before;
    if (hasEnded) {
      this.#fence = undefined;
      this.#append(fence.token(), fence.end - this.#at);
      return;
    }
    this.#replaceOpen([fence.token()]);
    this.#isSettled = true;
  }

  /** A block longer than the window: finish what fits, and go on with the rest as another block of its kind. */
  #cut(tokens: Token[], source: string): void {
    const only = tokens.find((each) => each.type !== "space");
    const lineEnd = source.lastIndexOf("\n") + 1;
    if (only?.type === "table" && lineEnd) {
      const head = (this.#head + source).split("\n", 2).join("\n") + "\n";
      this.#finish(this.#parse(this.#head + source.slice(0, lineEnd)), lineEnd);
      this.#head = head;
      return;
    }
    const items = only?.type === "list" ? (only as Tokens.List).items : [];
    if (items.length > 2) {
      const end = rawLength(items.slice(0, -2));
      const number = this.#number;
      this.#finish(this.#parse(source.slice(0, end)), end);
      const start = number ?? (only as Tokens.List).start;
      this.#number = typeof start === "number" ? start + items.length - 2 : undefined;
      return;
    }
    const end = Math.max(lineEnd, source.lastIndexOf(" ") + 1);
    if (end < source.length / 2) this.#window *= 2; // one long word, such as a picture in the text
    else this.#finish(this.#parse(source.slice(0, end)), end);
  }

  #parse(source: string, isOpen = false): Token[] {
    this.parsedChars += source.length;
    // A copy, for an address may be half of it; `#finish` keeps those that are whole.
    const tokens = parse(source, Object.assign(Object.create(null), this.#links) as Links, isOpen);
    const first = tokens[0];
    return this.#head && first?.type === "table" && !first["rows"].length ? tokens.slice(1) : tokens;
  }

  #finish(tokens: Token[], chars: number): void {
    for (const token of tokens) {
      if (token.type === "space") continue;
      if (token.type === "def") this.#define(token as Tokens.Def);
      else this.#append(this.#numbered(token), token.raw.length, 0);
    }
    this.#at += chars;
    this.#window = OPEN_CHARS;
    this.#looked = -1;
    this.#head = "";
    this.#number = undefined;
  }

  /** A definition holds for what is above it too; that is parsed again when all of the text is there. */
  #define({ tag, href, title }: Tokens.Def): void {
    if (tag in this.#links) return;
    this.#links[tag] = { href, title };
    this.#hasLateLinks = true;
  }

  #append(token: Token, chars: number, advance = chars): void {
    const blocks = closedOf(this.last);
    const section = { ...this.last, blocks: [...blocks, block(this.last, blocks, token)], chars: this.last.chars + chars };
    this.#at += advance;
    if (section.chars < SECTION_CHARS) this.last = section;
    else {
      this.sections = [...this.sections, section];
      this.last = { key: section.key + 1, blocks: [], chars: 0 };
    }
  }

  #showOpen(tokens: Token[], source: string): void {
    const repaired = repair(source, tokens);
    const shown = repaired === undefined ? tokens : this.#parse(this.#head + repaired, true);
    this.#replaceOpen(shown.map((each) => this.#numbered(each)));
    this.#isSettled = true;
  }

  #replaceOpen(tokens: Token[]): void {
    const blocks = [...closedOf(this.last)];
    for (const token of tokens) {
      if (token.type !== "space" && token.type !== "def") blocks.push({ ...block(this.last, blocks, token), isOpen: true });
    }
    this.last = { ...this.last, blocks };
  }

  #settle(): void {
    if (this.#isFinal && this.#hasLateLinks) return this.#reset();
    this.last = { ...this.last, blocks: closedOf(this.last) };
    this.#isSettled = true;
  }

  #numbered(token: Token): Token {
    if (this.#number === undefined || token.type !== "list") return token;
    return { ...token, start: this.#number } as Token;
  }
}

function blankChars(text: string): number {
  return BLANK_LINES.exec(text)?.[0].length ?? 0;
}

function rawLength(tokens: readonly { raw: string }[]): number {
  return tokens.reduce((sum, each) => sum + each.raw.length, 0);
}

function closedOf(section: Section): readonly Block[] {
  return section.blocks.some((each) => each.isOpen) ? section.blocks.filter((each) => !each.isOpen) : section.blocks;
}

function block(section: Section, before: readonly Block[], token: Token): Block {
  return { key: section.key * 10_000 + before.length, token, isOpen: false };
}
