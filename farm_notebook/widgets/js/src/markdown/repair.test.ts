import { describe, expect, it } from "vitest";
import { parse } from "./grammar";
import { openFormulaAt, repair } from "./repair";

const repaired = (source: string): string => repair(source, parse(source, {})) ?? source;

describe("repair", () => {
  it.each([
    ["Text **bold", "Text **bold**"],
    ["Text **bold*", "Text **bold**"],
    ["Text **bold**", "Text **bold**"],
    ["2 ** 3", "2 ** 3"],
    ["~~gone", "~~gone~~"],
    ["Call `f(", "Call `f(`"],
    ["[a](htt", "a"],
    ["[a](https://x.org \"ti", "a"],
    ["[a](https://x.org)", "[a](https://x.org)"],
    ["![a](htt", "a"],
    ["| a | b |", "\n| a | b |\n|---|---|\n"],
    ["| a | b |\n|---|", "\n| a | b |\n|---|---|\n"],
    ["a\n-", "a"],
    ["a\n```", "a\n```"],
    ["a\n##", "a"],
    ["- a\n-", "- a"],
    ["42", "42"],
    ["```py\nx = **2", "```py\nx = **2"],
    ["- a\n  ```py\n  x = `", "- a\n  ```py\n  x = `"],
  ])("%j is shown as %j", (source, shown) => {
    expect(repaired(source)).toBe(shown);
  });
});

describe("openFormulaAt", () => {
  it.each([
    ["a\n$$\nx", 1],
    ["a\n$$\nx\n$$\nb", undefined],
    ["a\n\\[\nx", 1],
    ["a\n\\[\nx\n\\]", undefined],
    ["$$\nx\n\nb", undefined],
    ["costs $$ much", undefined],
  ])("%j: %s", (source, at) => {
    expect(openFormulaAt(source)).toBe(at);
  });
});
