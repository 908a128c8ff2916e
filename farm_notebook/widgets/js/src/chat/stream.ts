/** The answer that is on its way, put together from its pieces; one for all views of a panel in a page. */

import { effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { ChatHost } from "./state";

interface Piece {
  /** The first is 1. */
  number: number;
  text: string;
  reasoning: string;
}

export class Stream {
  readonly #text: Signal<string> = signal("");
  readonly #reasoning: Signal<string> = signal("");
  #pieces = 0;

  constructor(host: ChatHost) {
    effect(() => {
      const running = host.slice("running").value;
      this.#pieces = running?.pieces ?? 0;
      this.#text.value = running?.text ?? "";
      this.#reasoning.value = running?.reasoning ?? "";
    });
    host.on<Piece>("piece", ({ number, text, reasoning }) => {
      if (number > this.#pieces + 1) host.call("sync").catch(() => undefined); // this page has missed some
      if (number !== this.#pieces + 1) return;
      this.#pieces = number;
      this.#text.value += text;
      this.#reasoning.value += reasoning;
    });
  }

  get text(): ReadonlySignal<string> {
    return this.#text;
  }

  get reasoning(): ReadonlySignal<string> {
    return this.#reasoning;
  }
}

const streams = new WeakMap<ChatHost, Stream>();

/** The stream of a panel. */
export function streamOf(host: ChatHost): Stream {
  const stream = streams.get(host) ?? new Stream(host);
  streams.set(host, stream);
  return stream;
}
