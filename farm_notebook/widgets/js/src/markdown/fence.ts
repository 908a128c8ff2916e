/** A code block between fences at the margin: however long it is, each of its lines is looked at once. */

import type { Tokens } from "marked";

const OPENER = /^( {0,3})(`{3,}(?=[^`\n]*\n)|~{3,})([^\n]*)\n/;
const MOST_OPENER_CHARS = 1_000;

export class Fence {
  /** Where in the text it ends, as far as it has come. */
  end: number;
  #body: number;
  #bodyEnd: number;
  #closer: RegExp;
  #half: RegExp;
  #text = "";

  private constructor(
    readonly language: string,
    private readonly indent: number,
    marks: string,
    private readonly from: number,
    body: number,
  ) {
    this.end = this.#body = this.#bodyEnd = body;
    this.#closer = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`);
    this.#half = new RegExp(`^ {0,3}${marks[0]}{1,}[ \\t]*$`);
  }

  /** The code block that begins here, if one does; its first line must have come. */
  static begin(text: string, at: number): Fence | undefined {
    const found = OPENER.exec(text.slice(at, at + MOST_OPENER_CHARS));
    if (!found) return undefined;
    const [line, indent = "", marks = "", info = ""] = found;
    const language = info.trim().split(/\s/, 1)[0] ?? "";
    return new Fence(language, indent.length, marks, at, at + line.length);
  }

  /** Look at the lines that have come; answers whether it has ended, as it does with the text. */
  advance(text: string, isFinal: boolean): boolean {
    this.#text = text;
    for (let next; (next = text.indexOf("\n", this.end)) >= 0; this.end = next + 1) {
      if (!this.#closer.test(text.slice(this.end, next))) continue;
      this.#bodyEnd = this.end;
      this.end = next + 1;
      return true;
    }
    const rest = text.slice(this.end);
    const isEnd = (isFinal ? this.#closer : this.#half).test(rest); // a half one may be the end that comes
    this.#bodyEnd = isEnd ? this.end : text.length;
    if (isFinal) this.end = text.length;
    return isFinal;
  }

  /** As the parser makes it of a code block. */
  token(): Tokens.Code {
    const body = this.#text.slice(this.#body, this.#bodyEnd).replace(/\n$/, "");
    const text = this.indent ? body.replace(new RegExp(`^ {1,${this.indent}}`, "gm"), "") : body;
    return { type: "code", raw: this.#text.slice(this.from, this.end), lang: this.language, text };
  }
}
