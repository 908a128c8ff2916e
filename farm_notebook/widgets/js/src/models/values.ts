/** What the kernel tells of models; as `ModelsPart.slices` in `models/part.py`. */

import type { Problem } from "../base";

export interface Model {
  /** As a request names it: `provider:model`. */
  name: string;
  provider: string;
  model: string;
  size_bytes: number | null;
  context_tokens: number | null;
  capabilities: string[] | null;
  license: string | null;
  description: string;
  /** Whether it answers without a fetch. */
  is_available: boolean;
  is_loaded: boolean;
  /** Whether it runs on the machine of the kernel. */
  is_here: boolean;
  fit: "fits" | "tight" | "too large" | null;
  /** US dollars for a million tokens. */
  input_price: number | null;
  output_price: number | null;
}

/** What a model in memory does. */
export interface State {
  state: "loading" | "ready" | "reloading" | "draining" | "aside" | "unloading" | "failed";
  generation: number | null;
  size_bytes: number | null;
  devices: string[];
  users: number;
  is_pinned: boolean;
  is_watched: boolean;
  detail: string;
}

/** What a panel has begun to do to a model. */
export interface Work {
  kind: "load" | "pull" | "reload" | "unload";
  stage: "fetch" | "verify" | "load" | null;
  completed_bytes: number | null;
  total_bytes: number | null;
  bytes_per_s: number | null;
  remaining_s: number | null;
  device: string | null;
  is_stopping: boolean;
}

export interface Provider {
  name: string;
  healthy: boolean;
  detail: string;
  fix: string | null;
}

export interface ModelsSlices {
  models: Model[];
  states: Record<string, State>;
  watched: string[];
  providers: Provider[];
  aliases: { name: string; note: string }[];
  /** What answers where none is named, and the model that this is just now; empty where nobody can tell. */
  default: { name: string; ref: string };
  works: Record<string, Work>;
  problems: Record<string, Problem>;
  listed_at: number | null;
  is_listing: boolean;
}

/** A line of the list: a model, an alias, or a name that nobody lists. */
export interface Entry {
  name: string;
  label: string;
  group: string;
  /** What an alias stands for. */
  note: string;
  model: Model | null;
}

export const ALIASES = "Names";
export const UNLISTED = "Not listed";
export const AS_TYPED = "As typed";

/** All lines in the order of the list. `further` are names that something is told of, listed or not. */
export function entries(models: readonly Model[], aliases: ModelsSlices["aliases"], further: readonly string[]): Entry[] {
  const listed = new Set([...models, ...aliases].map((each) => each.name));
  return [
    ...further
      .filter((name) => !listed.has(name))
      .map((name) => ({ name, label: name, group: UNLISTED, note: "", model: null })),
    ...aliases.map(({ name, note }) => ({ name, label: name, group: ALIASES, note, model: null })),
    ...models.map((model) => ({ name: model.name, label: model.model, group: model.provider, note: "", model })),
  ];
}

export interface EntryGroup {
  name: string;
  shown: Entry[];
  /** How many lines stand above it. */
  from: number;
}

/** The lines by their groups, in their order; then the providers that have none, to tell why. */
export function grouped(found: readonly Entry[], providers: readonly Provider[]): EntryGroup[] {
  const groups = new Map<string, Entry[]>();
  for (const entry of found) {
    const group = groups.get(entry.group);
    if (group) group.push(entry);
    else groups.set(entry.group, [entry]);
  }
  for (const { name } of providers) if (!groups.has(name)) groups.set(name, []);
  let lines = 0;
  return [...groups].map(([name, shown]) => {
    const from = lines;
    lines += shown.length;
    return { name, shown, from };
  });
}

/** What a model can do beside chat, in a word each. */
export function abilities({ capabilities }: Model): string[] {
  const can = new Set(capabilities ?? []);
  const words = ["vision", "tools", "reasoning"].filter((each) => can.has(each));
  if (can.has("embedding")) words.push("embeds");
  if (can.has("completion") && !can.has("chat")) words.push("completes");
  return words;
}

/** How many tokens, shortly: "128k". */
export function tokens(count: number): string {
  if (count < 1000) return String(count);
  if (count % 1000 !== 0 && count % 1024 === 0 && count < 1024 * 1000) return `${count / 1024}k`;
  return count < 999_500 ? `${Math.round(count / 1000)}k` : `${Number((count / 1e6).toFixed(1))}M`;
}
