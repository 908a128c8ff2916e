import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Answer, Announcer, Reasoning, type CodeAction } from ".";
import { AGAIN_MS } from "./colours";

let root: HTMLElement;

beforeEach(() => {
  root = document.body.appendChild(document.createElement("div"));
});

afterEach(() => {
  act(() => render(null, root));
  root.remove();
});

async function show(text: string, codeActions?: CodeAction[]): Promise<HTMLElement> {
  act(() => render(<Answer text={text} {...(codeActions ? { codeActions } : {})} />, root));
  await frames();
  return root;
}

/** Until all slices are done and drawn. */
async function frames(count = 4): Promise<void> {
  for (let index = 0; index < count; index += 1) await act(() => new Promise((resolve) => setTimeout(resolve, 20)));
}

describe("Answer", () => {
  it("shows what GFM has", async () => {
    await show("# T\n\n**b** *i* ~~d~~ `c`\n\n- [x] done\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\n> q\n\n---");
    expect(root.querySelector("h4")?.textContent).toBe("T");
    for (const tag of ["strong", "em", "del", "code", "li", "table", "blockquote", "hr"]) {
      expect(root.querySelector(tag), tag).not.toBeNull();
    }
    expect(root.querySelector(".farm-task")?.getAttribute("aria-label")).toBe("done:");
    expect(root.querySelector("td")?.className).toBe("farm-right");
    expect(root.querySelector("th")?.getAttribute("scope")).toBe("col");
  });

  it("shows the words of the references in a text", async () => {
    await show("a &amp; b &lt;i&gt; &copy; &#x41; &nosuch; `&amp;`");
    expect(root.textContent).toBe("a & b <i> © A &nosuch; &amp;");
  });

  it("shows HTML as text, and plain tags as what they mean", async () => {
    await show('H<sub>2</sub>O <b onclick="x()">bold</b> <script>x()</script> a<br>b <u>open');
    expect(root.querySelector("sub")?.textContent).toBe("2");
    expect(root.querySelector("b, u, script")).toBeNull();
    expect(root.querySelectorAll("br")).toHaveLength(1);
    expect(root.textContent).toContain('<b onclick="x()">bold</b> <script>x()</script>');
  });

  it("demotes headings no further than there are levels", async () => {
    act(() => render(<Answer text={"# a\n\n## b\n\n###### c"} headingLevel={3} />, root));
    await frames();
    expect([...root.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((each) => each.tagName)).toEqual(["H3", "H4", "H6"]);
  });

  it("shows formulas, and the source of what is none", async () => {
    await show("Euler: $e^{i\\pi}$, \\(x\\), $\\nosuch{$ and\n\n$$\n\\int_0^1 x\n$$\n\n\\[ y \\]");
    expect(root.querySelectorAll("math")).toHaveLength(4);
    expect(root.querySelectorAll(".farm-formula-display math")).toHaveLength(2);
    expect(root.querySelector(".farm-formula-source")?.textContent).toBe("\\nosuch{");
  });

  it.each(["It costs $5, or $10 for two.", "$HOME/bin:$PATH", "US$5 and $ 6", "Only $5"])(
    "takes no price for a formula: %s",
    async (text) => {
      await show(text);
      expect(root.querySelector("math, .farm-formula-source")).toBeNull();
      expect(root.textContent).toBe(text);
    },
  );

  it("colours finished code of known languages", async () => {
    await show("```python\ndef f(): return 1\n```\n\n```nosuch\nplain\n```");
    const [known, unknown] = root.querySelectorAll("pre");
    expect(known?.querySelector(".farm-code-keyword")?.textContent).toBe("def");
    expect(known?.textContent).toBe("def f(): return 1");
    expect(unknown?.querySelector("[class^='farm-code-keyword']")).toBeNull();
    expect(unknown?.textContent).toBe("plain");
  });

  it("names its code blocks, which the keyboard can reach", async () => {
    await show("```python\nx\n```");
    const pre = root.querySelector("pre");
    expect(pre?.tabIndex).toBe(0);
    expect(pre?.getAttribute("role")).toBe("region");
    expect(pre?.getAttribute("aria-label")).toBe("Code: Python");
  });

  it("offers the panel's actions, and says what came of them", async () => {
    const insert = vi.fn();
    await show("```python\nx = 1\n```\n\n```sh\nls\n```", [
      { label: "Insert", isFor: ({ language }) => language === "python", run: insert, done: "Inserted" },
      { label: "Fail", run: () => Promise.reject(new Error("no cell")) as Promise<void> },
    ]);
    const buttons = [...root.querySelectorAll("button")];
    expect(buttons.map((each) => each.textContent)).toEqual(["Copy", "Insert", "Fail", "Copy", "Fail"]);
    await act(async () => buttons[1]?.click());
    await act(async () => buttons[2]?.click());
    expect(insert).toHaveBeenCalledExactlyOnceWith({ text: "x = 1", language: "python" });
    expect(buttons[1]?.textContent).toBe("Inserted");
    expect(buttons[2]?.textContent).toBe("Failed: no cell");
  });

  it("copies the code", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    await show("```\na\n\nb\n```");
    await act(async () => root.querySelector("button")?.click());
    await frames(1);
    expect(writeText).toHaveBeenCalledExactlyOnceWith("a\n\nb");
    expect(root.querySelector("button")?.textContent).toBe("Copied");
    vi.unstubAllGlobals();
  });

  it("spells out characters that turn code around", async () => {
    await show("```python\nx = 'a\u202eb'\n```\n\n```nosuch\n\u2066\n```");
    expect([...root.querySelectorAll("pre")].map((each) => each.textContent)).toEqual(["x = 'a⟨U+202E⟩b'", "⟨U+2066⟩"]);
  });

  it("follows a signal, keeping what is finished", async () => {
    const text = signal("");
    const isStreaming = signal(true);
    act(() => render(<Answer text={text} isStreaming={isStreaming} />, root));
    const whole = "One.\n\nTwo *more*.\n\n```python\nx = 1\ny = 2\n```\n\nEnd.";
    let first: Element | null = null;
    for (let end = 1; end <= whole.length; end += 4) {
      await act(async () => void (text.value = whole.slice(0, end)));
      await frames(1);
      if (end > 20) expect(root.querySelector("p")).toBe((first ??= root.querySelector("p")));
    }
    await act(async () => {
      text.value = whole;
      isStreaming.value = false;
    });
    await frames();
    expect([...root.querySelectorAll("p")].map((each) => each.textContent)).toEqual(["One.", "Two more.", "End."]);
    expect(root.querySelector("pre")?.textContent).toBe("x = 1\ny = 2");
  });

  it("follows a text that the panel renders anew", async () => {
    for (const text of ["One.", "One.\n\nTw", "One.\n\nTwo.\n\nThree.", "Other."]) {
      act(() => render(<Answer text={text} isStreaming />, root));
      await frames();
      expect([...root.querySelectorAll("p")].map((each) => each.textContent)).toEqual(text.split("\n\n"));
    }
  });

  it("draws a text of many messages at the latest in the next frames", async () => {
    const texts = Array.from({ length: 30 }, (_, index) => `Message ${index}.\n\n${"words ".repeat(500)}`);
    act(() => render(<div>{texts.map((text) => <Answer text={text} />)}</div>, root));
    await frames();
    expect(root.querySelectorAll("p")).toHaveLength(60);
    expect(root.querySelector(".farm-rest")).toBeNull();
  });

  it("has no live region", async () => {
    await show("text");
    expect(root.querySelector("[aria-live], [role=status], [role=log], [role=alert]")).toBeNull();
  });
});

describe("an answer that streams", () => {
  async function streaming(text: string): Promise<HTMLElement> {
    act(() => render(<Answer text={text} isStreaming />, root));
    await frames();
    return root;
  }

  it.each([
    ["an open fence is code", "```python\nx = 1\n", "pre", "x = 1"],
    ["the end of a fence is not shown in parts", "```python\nx = 1\n``", "pre", "x = 1"],
    ["half a link is its text", "See [the docs](https://exam", "p", "See the docs"],
    ["half a picture is its text", "See ![a cat](https://exam", "p", "See a cat"],
    ["what is bold is bold at once", "Very **bold tex", "strong", "bold tex"],
    ["code in a line is code at once", "Call `foo(", "p code", "foo("],
    ["half a formula is its source", "So \\(x^2 + ", ".farm-formula-source", "\\(x^2 +"],
    ["half a formula of several lines is its source", "So\n\n$$\n\\frac{a", ".farm-formula-source", "$$\n\\frac{a"],
    ["the first row of a table is a table", "| a | b |", "thead", "ab"],
    ["and with half its second line", "| a | b |\n|-", "thead", "ab"],
    ["a dash is no heading yet", "Title\n-", "p", "Title"],
    ["the number of an item is not shown alone", "1. one\n2.", "ol", "one"],
  ])("%s", async (_name, text, selector, shown) => {
    await streaming(text);
    expect(root.querySelector(selector)?.textContent).toBe(shown);
    expect(root.textContent).not.toMatch(/\*\*|exam/);
  });

  it("colours the lines of code that have come, now and then", async () => {
    const text = signal("```python\ndef f():\n    retur");
    act(() => render(<Answer text={text} isStreaming />, root));
    await act(() => new Promise((resolve) => setTimeout(resolve, 2 * AGAIN_MS)));
    await frames();
    expect(root.querySelector(".farm-code-keyword")?.textContent).toBe("def");
    const lines = (): (string | null)[] => [...root.querySelectorAll(".farm-code-piece")].map((each) => each.textContent);
    expect(lines()).toEqual(["def f():", "    retur"]);
    text.value += "n 1\n\n    x";
    await frames(2);
    expect(lines().join("\n")).toBe("def f():\n    return 1\n\n    x");
  });

  it("disables the panel's actions for code that is not finished", async () => {
    const actions = [{ label: "Insert", run: () => {} }];
    act(() => render(<Answer text={"```py\nx"} isStreaming codeActions={actions} />, root));
    await frames();
    expect([...root.querySelectorAll("button")].map((each) => each.disabled)).toEqual([false, true]);
  });
});

describe("links and pictures", () => {
  it("opens safe links in a page of their own and says where they lead", async () => {
    await show("[docs](https://user:pw@example.com/a?b)");
    const link = root.querySelector("a");
    expect(link?.getAttribute("href")).toBe("https://example.com/a?b");
    expect(link?.target).toBe("_blank");
    expect(link?.rel).toBe("noopener noreferrer");
    expect(link?.title).toBe("example.com\nhttps://example.com/a?b");
    expect(root.querySelector(".farm-link-place")).toBeNull();
  });

  it("shows the real host of a link that names another", async () => {
    await show("[https://good.org/x](https://evil.org) [evil.org](https://www.evil.org)");
    expect([...root.querySelectorAll(".farm-link-place")].map((each) => each.textContent)).toEqual([" (evil.org)"]);
  });

  it("makes no link of what is not followed", async () => {
    await show("[a](javascript:x) [b](/lab) [c](#top) [d](data:text/html,x) [e](file:///etc) <vbscript:x>");
    expect(root.querySelector("a")).toBeNull();
    expect(root.textContent).toBe("a b c d e vbscript:x");
  });

  it("loads a picture only when it is asked to", async () => {
    await show("![A cat](https://example.com/cat.png)");
    expect(root.querySelector("img")).toBeNull();
    const button = root.querySelector("button");
    expect(button?.textContent).toBe("Load it from example.com");
    await act(async () => button?.click());
    const image = root.querySelector("img");
    expect(image?.getAttribute("src")).toBe("https://example.com/cat.png");
    expect(image?.alt).toBe("A cat");
    expect(image?.getAttribute("referrerpolicy")).toBe("no-referrer");
  });

  it("shows pictures that are in the text, if they are nothing but pixels", async () => {
    await show("![a](data:image/png;base64,AAAA) ![b](data:image/svg+xml;base64,AAAA) ![c](data:image/png,x)");
    expect(root.querySelectorAll("img")).toHaveLength(1);
    expect(root.querySelector("img")?.getAttribute("src")).toBe("data:image/png;base64,AAAA");
  });
});

describe("Reasoning", () => {
  it("is folded, and drawn only when it is opened", async () => {
    act(() => render(<Reasoning text="**Hm**" isStreaming />, root));
    const details = root.querySelector("details");
    expect(details?.open).toBe(false);
    expect(root.querySelector("summary")?.textContent).toBe("Thinking…");
    expect(root.querySelector(".farm-answer")).toBeNull();
    await act(async () => {
      if (details) details.open = true;
      details?.dispatchEvent(new Event("toggle"));
    });
    await frames();
    expect(root.querySelector("strong")?.textContent).toBe("Hm");
    act(() => render(<Reasoning text="**Hm**" took="3.4 s" />, root));
    expect(root.querySelector("summary")?.textContent).toBe("Thought for 3.4 s");
  });

  it("is nothing without text", () => {
    act(() => render(<Reasoning text="" />, root));
    expect(root.innerHTML).toBe("");
  });
});

describe("Announcer", () => {
  it("says once that something has ended", () => {
    const shown = (isBusy: boolean): string => {
      act(() => render(<Announcer isBusy={isBusy} message="Done." />, root));
      return root.querySelector("[role=status]")?.textContent ?? "";
    };
    expect(shown(false)).toBe("");
    expect(shown(true)).toBe("");
    expect(shown(false)).toBe("Done.");
    expect(shown(true)).toBe("");
  });
});
