import { expect, test } from "vitest";
import { marked, matches, wordsOf } from "./search";
import { model } from "./testing";
import { entries, tokens } from "./values";

const [entry] = entries([model("here:Org/Small-Model", { capabilities: ["embedding"] })], [], []);

test("a line matches where every word occurs, in whatever order and case", () => {
  const found = (text: string) => matches(entry!, wordsOf(text));
  expect([found(""), found(" small HERE "), found("embeds"), found("small vision")]).toEqual([true, true, true, false]);
});

test("the pieces of a text are the whole text, the matches apart", () => {
  const pieces = marked("abcabc", ["bc", "ca"]);
  expect(pieces).toEqual([
    { text: "a", isMatch: false },
    { text: "bcabc", isMatch: true },
  ]);
  expect(marked("", ["a"])).toEqual([]);
});

test("a text whose length changes with its case is left whole", () => {
  expect(marked("İx", ["x"])).toEqual([{ text: "İx", isMatch: false }]);
});

test("tokens are told shortly", () => {
  expect([512, 8192, 128_000, 131_072, 1_047_576, 2_000_000].map(tokens)).toEqual(["512", "8k", "128k", "128k", "1M", "2M"]);
});
