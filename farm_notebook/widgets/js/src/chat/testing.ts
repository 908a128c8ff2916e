/** A conversation for tests. */

import { partWith } from "../testing";
import type { ChatSlices, Turn } from "./state";

export function turn(question: string, answer: string, more: Partial<Turn> = {}): Turn {
  return {
    question: { text: question, images: [] },
    answer: { text: answer, reasoning: "", model: "toy:m", footer: "toy:m · 3 tokens", is_partial: false },
    problem: null,
    ...more,
  };
}

export const EMPTY: ChatSlices = {
  turns: [],
  totals: { input_tokens: 0, output_tokens: 0, cost: null },
  thread: "notebook",
  threads: ["notebook", "other"],
  running: null,
  note: "",
  attempt: null,
  model: null,
  default_model: "toy:m",
  models: null,
  doubt: "",
  settings: { system: null, temperature: null, top_p: null, max_tokens: null, seed: null },
};

export const RUNNING = {
  name: "turn-9",
  question: { text: "go on", images: [] },
  model: "toy:m",
  keep: null,
  pieces: 0,
  text: "",
  reasoning: "",
};

/** A kernel and a host in whose conversation this was said. */
export function conversation(turns: Turn[] = [], more: Partial<ChatSlices> = {}) {
  const named = Object.fromEntries(turns.map((each, index) => [`turn-${index + 1}`, each]));
  return partWith<ChatSlices>("chat", { ...EMPTY, turns: Object.keys(named), ...named, ...more });
}
