/** Colours for code. */

import core from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import julia from "highlight.js/lib/languages/julia";
import latex from "highlight.js/lib/languages/latex";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import pythonRepl from "highlight.js/lib/languages/python-repl";
import r from "highlight.js/lib/languages/r";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { cleanCode } from "./sanitize";

/** Longer code stays plain: its colours would take longer than a frame. */
export const MOST_CHARS = 40_000;

const highlighter = core.newInstance();
highlighter.configure({ classPrefix: "farm-code-" });
const languages = {
  bash, c, cpp, css, diff, go, java, javascript, json, julia, latex, markdown, python, r, rust, sql, typescript, xml,
  yaml, "python-repl": pythonRepl,
};
for (const [name, language] of Object.entries(languages)) highlighter.registerLanguage(name, language);
highlighter.registerAliases(["ipython", "ipython3", "python3", "sage"], { languageName: "python" });
highlighter.registerAliases(["terminal", "zsh", "sh", "shell", "console"], { languageName: "bash" });
highlighter.registerAliases(["jsonc", "json5", "jsonl"], { languageName: "json" });

/** The name of a language as it is written, such as "Python"; what is not known is named as the model wrote it. */
export function languageName(language: string): string {
  return highlighter.getLanguage(language)?.name ?? language;
}

/** The code in colours; `undefined` if its language is not known or it is too long. */
export function highlight(text: string, language: string): DocumentFragment | undefined {
  if (text.length > MOST_CHARS || !highlighter.getLanguage(language)) return undefined;
  const { value, illegal } = highlighter.highlight(text, { language, ignoreIllegals: true });
  return illegal ? undefined : cleanCode(value);
}
