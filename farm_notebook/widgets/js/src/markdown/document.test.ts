import { describe, expect, it } from "vitest";
import type { Token, Tokens } from "marked";
import { codeOf } from "./blocks";
import { AnswerDocument, OPEN_CHARS, type Block } from "./document";

const always = (): boolean => true;

const SAMPLE = `# Title

Some **bold** and *thin* text with \`code\` and $x^2$ and [a link](https://example.com "t").

1. one
2. two

   more of two
3. three
   - nested
   - nested too

> quoted
continued

| a | b |
|---|:-:|
| 1 | 2 |
| 3 | 4 |

\`\`\`python
def f():

    return 1
\`\`\`

$$
\\frac{a}{b}
$$

- [ ] to do
- [x] done

Setext
------

\\[ x_1 \\]

    indented

    code

***

See [label] and [other][label].

[label]: https://example.org/x
  "title"

~~~
tail
~~~
last words`;

function all(document: AnswerDocument): Block[] {
  return [...document.sections, document.last].flatMap((each) => each.blocks);
}

function whole(text: string): AnswerDocument {
  const document = new AnswerDocument();
  document.update(text, true);
  document.advance(always);
  return document;
}

function streamed(text: string, size: number): AnswerDocument {
  const document = new AnswerDocument();
  for (let end = 0; end < text.length; end += size) {
    document.update(text.slice(0, end), false);
    document.advance(always);
  }
  document.update(text, true);
  document.advance(always);
  return document;
}

const tokens = (document: AnswerDocument) => all(document).map((each) => each.token);

/** As they are drawn: what a code block is made of can have been taken apart in two ways. */
function drawn(document: AnswerDocument): (Token | { code: unknown })[] {
  return tokens(document).map((each) => (each.type === "code" ? { code: codeOf(each as Tokens.Code) } : each));
}

/** Numbers between 0 and 1 that are the same in each run. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
}

const SCRAPS = [
  ..."word|- a|* b|1. x|2. y|10) z|   - n|> q|>> r|# h|### t #|---|===|***|```|```py|~~~|````md|$$|$x$|**b**|*i".split("|"),
  ..."`c`;`;[l](http://a.b);[r];[r]: http://x.y;<div>;</div>;<b>;</b>;<!--;-->;![p](q);- [x] t;&amp;;http://a.b/c".split(";"),
  ..."\\[;\\];\\(;\\);\\;\t;  ;    ;\n;\n\n;\r\n;| a | b |;|--|--|;| 1 | 2 |;\n| a | b |\n|--|--|\n;\n```\n;\n$$\n".split(";"),
];

describe("AnswerDocument", () => {
  it("makes the same blocks of pieces as of the whole, whatever the text", () => {
    const random = numbers(6);
    for (let round = 0; round < 250; round += 1) {
      const scraps = Array.from({ length: 3 + random() * 14 }, () => SCRAPS[Math.floor(random() * SCRAPS.length)]);
      const text = scraps.map((each) => `${each}${random() < 0.5 ? "\n" : ""}`).join("");
      expect(drawn(streamed(text, 1 + Math.floor(random() * 5))), JSON.stringify(text)).toEqual(drawn(whole(text)));
    }
  });

  it.each([1, 2, 3, 7, 50, 500])("makes the same blocks of pieces of %i characters as of the whole", (size) => {
    expect(tokens(streamed(SAMPLE, size))).toEqual(tokens(whole(SAMPLE)));
  });

  it("makes one block of each construct", () => {
    expect(tokens(whole(SAMPLE)).map((each) => each.type)).toEqual(
      "heading paragraph list blockquote table code formula list heading formula code hr paragraph code paragraph".split(" "),
    );
  });

  it("keeps a finished block the same object", () => {
    const document = new AnswerDocument();
    document.update("one\n\ntwo\nand", false);
    document.advance(always);
    const [first] = all(document);
    document.update("one\n\ntwo\nand more\n\nthree\n", false);
    document.advance(always);
    expect(all(document)[0]).toBe(first);
  });

  it.each([
    ["paragraphs", (n: number) => "Some *words* of text.\n\n".repeat(n / 23)],
    ["an endless code block", (n: number) => "```python\n" + "x = [1, 2, 3]\n".repeat(n / 14)],
    ["an endless table", (n: number) => "| a | b |\n|---|---|\n" + "| 1 | two |\n".repeat(n / 12)],
    ["an endless list", (n: number) => "1. an item of it\n".repeat(n / 17)],
    ["an endless paragraph", (n: number) => "words and words ".repeat(n / 16)],
  ])("parses %s in work that grows with their length", (_name, make) => {
    const work = (chars: number): number => streamed(make(chars), 500).parsedChars;
    expect(work(64_000) / work(16_000)).toBeLessThan(6);
  });

  it.each([
    ["table", "| a | b |\n|---|---|\n" + "| 1 | two |\n".repeat(4_000)],
    ["list", "1. an item of it\n".repeat(3_000)],
    ["paragraph", "words and words ".repeat(3_000)],
  ])("cuts a long %s where it is cut too when it comes in pieces", (type, text) => {
    const blocks = tokens(whole(text));
    expect(blocks.length).toBeGreaterThan(2);
    expect(new Set(blocks.map((each) => each.type))).toEqual(new Set([type]));
    expect(tokens(streamed(text, 997))).toEqual(blocks);
  });

  it("numbers the items of a long list through", () => {
    const lists = tokens(whole("1. an item of it\n".repeat(3_000))) as { start: number; items: unknown[] }[];
    let next = 1;
    for (const { start, items } of lists) {
      expect(start).toBe(next);
      next += items.length;
    }
    expect(next).toBe(3_001);
  });

  it("does not cut a picture in the text", () => {
    const picture = `![a](data:image/png;base64,${"A".repeat(3 * OPEN_CHARS)})`;
    const blocks = tokens(whole(`${picture}\n\nEnd.`));
    expect(blocks.map((each) => each.type)).toEqual(["paragraph", "paragraph"]);
    expect(blocks[0]).toMatchObject({ tokens: [{ type: "image" }] });
  });

  it("takes a definition at the end for what is above it", () => {
    const document = streamed("See [label].\n\nMore.\n\n[label]: https://example.org\n", 5);
    expect(all(document)[0]?.token).toMatchObject({ tokens: [{}, { type: "link", href: "https://example.org" }, {}] });
  });

  it("begins anew with another text", () => {
    const document = whole("one\n\ntwo");
    document.update("else", true);
    document.advance(always);
    expect(tokens(document).map((each) => each.raw)).toEqual(["else"]);
  });

  it("goes on later when its time is over", () => {
    const document = new AnswerDocument();
    document.update("words\n\n".repeat(10_000), true);
    expect(document.advance(() => false)).toBe(true);
    expect(document.restChars).toBeGreaterThan(0);
    while (document.advance(() => false));
    expect(all(document)).toHaveLength(10_000);
  });

  it("shows what is nested too deeply as text", () => {
    expect(tokens(whole("> ".repeat(5_000)))[0]?.type).toBe("paragraph");
  });
});
