/** Elements for what stands in a line: emphasis, code, links, pictures, formulas, and a few plain tags. */

import type { Token, Tokens } from "marked";
import { h, type ComponentChildren } from "preact";
import { REORDERING, seen } from "./addresses";
import { Formula } from "./formula";
import type { FormulaToken, TagToken } from "./grammar";
import { Link } from "./link";
import { Picture } from "./picture";
import { withReferences } from "./references";

const WRAPPERS: Record<string, string> = { strong: "strong", em: "em", del: "del" };

/** A plain tag that has begun, or the whole when `tag` is missing. */
interface Level {
  tag?: TagToken;
  content: ComponentChildren[];
}

export function inline(tokens: readonly Token[] | undefined): ComponentChildren {
  const levels: [Level, ...Level[]] = [{ content: [] }];
  for (const token of tokens ?? []) {
    const level = levels.at(-1) as Level;
    if (token.type !== "html") level.content.push(span(token));
    else takeTag(levels, token as TagToken);
  }
  while (levels.length > 1) asText(levels);
  return levels[0].content;
}

/** The words of it alone. */
export function plainText(tokens: readonly Token[] | undefined): string {
  return (tokens ?? []).map((token) => ("tokens" in token && token.tokens ? plainText(token.tokens) : words(token))).join("");
}

function span(token: Token): ComponentChildren {
  switch (token.type) {
    case "text":
      return "tokens" in token && token.tokens ? inline(token.tokens) : words(token);
    case "escape":
      return (token as Tokens.Escape).text;
    case "codespan":
      return <code class="farm-inline-code">{(token as Tokens.Codespan).text.replace(REORDERING, "\ufffd")}</code>;
    case "br":
      return <br />;
    case "formula":
      return formula(token as FormulaToken);
    case "link":
      return link(token as Tokens.Link);
    case "image":
      return picture(token as Tokens.Image);
    case "checkbox":
      return checkbox(token as Tokens.Checkbox);
    default: {
      const tag = WRAPPERS[token.type];
      return tag ? h(tag, null, inline((token as Tokens.Generic).tokens)) : token.raw;
    }
  }
}

export function formula({ text, isDisplay, isOpen }: FormulaToken): ComponentChildren {
  return <Formula tex={text} isDisplay={isDisplay} isOpen={isOpen} />;
}

function link(token: Tokens.Link): ComponentChildren {
  const label = plainText(token.tokens);
  const address = token.autolink ? token.href : withReferences(token.href);
  return (
    <Link address={address} label={label} title={token.title ? withReferences(token.title) : null}>
      {label === seen(label) ? inline(token.tokens) : seen(label)}
    </Link>
  );
}

function picture(token: Tokens.Image): ComponentChildren {
  const title = token.title ? withReferences(token.title) : null;
  return <Picture address={withReferences(token.href)} alt={withReferences(token.text)} title={title} />;
}

function checkbox({ checked }: Tokens.Checkbox): ComponentChildren {
  return (
    <span class="farm-task" role="img" aria-label={checked ? "done:" : "to do:"}>
      {checked ? "☑" : "☐"}
    </span>
  );
}

function words(token: Token): string {
  if (token.type === "text") return withReferences((token as Tokens.Text).text);
  return "text" in token && typeof token.text === "string" ? token.text : token.raw;
}

function takeTag(levels: [Level, ...Level[]], tag: TagToken): void {
  const level = levels.at(-1) as Level;
  if (tag.name === "br") level.content.push(<br />);
  else if (!tag.isEnd) levels.push({ tag, content: [] });
  else if (levels.some((each) => each.tag?.name === tag.name)) {
    while (levels.at(-1)?.tag?.name !== tag.name) asText(levels);
    const { content } = levels.pop() as Level;
    levels.at(-1)?.content.push(h(tag.name, null, content));
  } else level.content.push(tag.raw);
}

/** A tag that has no end is text. */
function asText(levels: [Level, ...Level[]]): void {
  const { tag, content } = levels.pop() as Level;
  levels.at(-1)?.content.push(tag?.raw, ...content);
}
