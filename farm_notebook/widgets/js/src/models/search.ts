/** Finding models by what is typed. */

import { abilities, type Entry } from "./values";

/** The words of a search. */
export function wordsOf(text: string): string[] {
  return text.trim().toLowerCase().split(/\s+/).filter(Boolean);
}

/** Whether every word occurs in what is told of a line. */
export function matches(entry: Entry, words: readonly string[]): boolean {
  const all = searched(entry);
  return words.every((word) => all.includes(word));
}

/** A text in pieces, those that a word matches told apart. */
export function marked(text: string, words: readonly string[]): { text: string; isMatch: boolean }[] {
  const lower = text.toLowerCase();
  const hits = new Array<boolean>(text.length).fill(false);
  if (lower.length === text.length) {
    for (const word of words) {
      for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) hits.fill(true, at, at + word.length);
    }
  }
  const pieces: { text: string; isMatch: boolean }[] = [];
  let from = 0;
  for (let at = 1; at <= text.length; at += 1) {
    if (at < text.length && hits[at] === hits[at - 1]) continue;
    pieces.push({ text: text.slice(from, at), isMatch: hits[from] ?? false });
    from = at;
  }
  return pieces;
}

const known = new WeakMap<Entry, string>();

function searched(entry: Entry): string {
  let all = known.get(entry);
  if (all === undefined) {
    const { model } = entry;
    const more = model ? [model.license ?? "", model.description, ...(model.capabilities ?? []), ...abilities(model)] : [];
    all = [entry.name, entry.label, entry.group, entry.note, ...more].join(" ").toLowerCase();
    known.set(entry, all);
  }
  return all;
}
