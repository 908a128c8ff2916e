import { describe, expect, it } from "vitest";
import { highlight, languageName, MOST_CHARS } from "./highlight";

describe("highlight", () => {
  it.each(["python", "py", "ipython3", "JavaScript", "ts", "bash", "console", "json", "sql", "r", "yaml", "c++", "html"])(
    "knows %s",
    (language) => expect(highlight("x = 1", language)?.textContent).toBe("x = 1"),
  );

  it("changes no character of the code", () => {
    const text = "def f(a: 'b<c>') -> \"&amp;\":\n\treturn f'{a!r}' # \u00e9\n\n";
    expect(highlight(text, "python")?.textContent).toBe(text);
  });

  it.each(["", "nosuch", "constructor", "__proto__", '"><img>'])("leaves %j plain", (language) => {
    expect(highlight("x", language)).toBeUndefined();
  });

  it("leaves code plain that would take longer than a frame", () => {
    expect(highlight("x".repeat(MOST_CHARS + 1), "python")).toBeUndefined();
  });
});

it("names languages as they are written", () => {
  expect(["py", "ts", "nosuch", ""].map(languageName)).toEqual(["Python", "TypeScript", "nosuch", ""]);
});
