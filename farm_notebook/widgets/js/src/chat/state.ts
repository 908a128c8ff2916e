/** What the kernel tells of a conversation: the slices of `part.py` in `widgets/chat`. */

import type { PartHost, Problem } from "../base";

export interface Picture {
  /** A small one to show; `null` where there is none. */
  url: string | null;
  type: string;
  size_bytes: number;
}

export interface Question {
  text: string;
  images: Picture[];
}

/** One exchange of the thread. */
export interface Turn {
  question: Question;
  answer: { text: string; reasoning: string; model: string; footer: string; is_partial: boolean };
  /** Why the answer broke off, where it did. */
  problem: Problem | null;
}

/** The question whose answer is on its way. */
export interface Running {
  /** The name that its turn will have. */
  name: string;
  question: Question;
  model: string;
  /** How many turns stay where something is asked anew; the others go once there is an answer. */
  keep: number | null;
  /** How many pieces `text` and `reasoning` are made of. */
  pieces: number;
  text: string;
  reasoning: string;
}

/** A question that got no answer, with the reason; without one it was stopped. */
export interface Attempt {
  question: Question;
  problem: Problem | null;
}

export interface ModelChoice {
  name: string;
  group: string;
  note: string;
  is_at_hand: boolean;
  sees: boolean;
}

export interface Settings {
  system: string | null;
  temperature: number | null;
  top_p: number | null;
  max_tokens: number | null;
  seed: number | null;
}

export interface Totals {
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
}

export interface ChatSlices {
  /** The names of the exchanges; each is a slice of its own. */
  turns: string[];
  totals: Totals;
  thread: string;
  threads: string[];
  running: Running | null;
  /** What is waited for until an answer begins. */
  note: string;
  attempt: Attempt | null;
  /** Who answers in this panel; `null` is the farm's default. */
  model: string | null;
  default_model: string;
  models: ModelChoice[] | null;
  /** Why a question to the chosen model may fail; empty where nothing speaks against it. */
  doubt: string;
  settings: Settings;
  [turn: `turn-${number}`]: Turn;
}

export type ChatHost = PartHost<ChatSlices>;

/** The slice of one exchange. */
export function turnOf(host: ChatHost, name: string): Turn | undefined {
  return host.slice(name as `turn-${number}`).value;
}
