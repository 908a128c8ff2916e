/** Models for tests. */

import type { Model, ModelsSlices, State, Work } from "./values";

/** A model of a provider that runs here, with nothing special about it. */
export function model(name: string, more: Partial<Model> = {}): Model {
  const [provider, ...rest] = name.split(":");
  return {
    name,
    provider: provider ?? "",
    model: rest.join(":"),
    size_bytes: 100_000_000,
    context_tokens: 8192,
    capabilities: ["chat", "completion"],
    license: "Apache-2.0",
    description: "",
    is_available: true,
    is_loaded: false,
    is_here: true,
    fit: "fits",
    input_price: 0,
    output_price: 0,
    ...more,
  };
}

export const IN_MEMORY: State = {
  state: "ready",
  generation: 1,
  size_bytes: 100_000_000,
  devices: ["cpu"],
  users: 0,
  is_pinned: false,
  is_watched: false,
  detail: "",
};

export const FETCHING: Work = {
  kind: "load",
  stage: "fetch",
  completed_bytes: 45_000_000,
  total_bytes: 98_000_000,
  bytes_per_s: 12_000_000,
  remaining_s: 4.4,
  device: null,
  is_stopping: false,
};

export const STATE: ModelsSlices = {
  models: [
    model("here:small", { capabilities: ["chat", "tools"] }),
    model("here:large", { is_available: false, fit: "too large", size_bytes: 70e9 }),
    model("cloud:big-vision", {
      is_here: false,
      size_bytes: null,
      fit: null,
      context_tokens: 128_000,
      capabilities: ["chat", "vision"],
      input_price: 0.4,
      output_price: 1.6,
    }),
  ],
  states: {},
  watched: [],
  providers: [
    { name: "here", healthy: true, detail: "two models", fix: null },
    { name: "cloud", healthy: true, detail: "answers", fix: null },
    { name: "down", healthy: false, detail: "nothing answers", fix: "farm ollama start" },
  ],
  aliases: [{ name: "auto", note: "whichever model is at hand" }],
  default: { name: "auto", ref: "here:small" },
  works: {},
  problems: {},
  listed_at: 1_700_000_000,
  is_listing: false,
};
