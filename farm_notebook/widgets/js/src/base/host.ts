/** The page's side of a panel: the state that the kernel tells, by slice, and calls to the kernel.
 *
 * One host serves all views of a widget in a page, so that they stay in step. `panel.py` describes the messages.
 */

import { batch, computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";

/** How long the kernel may take to say that a call has arrived before the user is told that it is busy. */
export const BUSY_MS = 2_000;

/** An error as the kernel tells it; plain text, not trusted. */
export interface Problem {
  title: string;
  message: string;
  fix: string | null;
}

/** What a call that failed rejects with. */
export class CallError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
    this.name = "CallError";
  }
}

/** As much of an anywidget model as a host needs. */
export interface Model {
  get(name: string): unknown;
  send(content: unknown): void;
  on(event: string, listener: (...args: never[]) => void): void;
  off(event: string, listener: (...args: never[]) => void): void;
  /** The front end's own, and not to be relied on. */
  readonly widget_manager?: unknown;
}

/** `waiting` until the state has arrived, `live` from then on, `gone` when the kernel has ended or is not heard of. */
export type Connection = "waiting" | "live" | "gone";

type Listener = (data: never) => void;

type Frame =
  | { state: Record<string, unknown> } // all slices
  | { set: Record<string, unknown> }
  | { event: string; data: unknown }
  | { ack: string }
  | { done: string; error: Problem | null };

interface Call {
  resolve: () => void;
  reject: (error: CallError) => void;
  timer: ReturnType<typeof setTimeout>;
}

const GONE: Problem = {
  title: "The kernel is gone",
  message: "This panel belongs to a kernel that was restarted or has ended.",
  fix: "Run the panel's cell again.",
};

/** All parts of one panel. */
export class Host {
  readonly panelId: string;
  readonly partNames: readonly string[];
  readonly connection: Signal<Connection> = signal("waiting");
  readonly #model: Model;
  readonly #parts = new Map<string, PartHost>();

  constructor(model: Model) {
    this.#model = model;
    this.panelId = String(model.get("panel_id"));
    this.partNames = (model.get("part_names") as string[]) ?? [];
    for (const name of this.partNames) this.#parts.set(name, new PartHost(name, this));
    model.on("msg:custom", this.#take);
    model.on("comm_live_update", this.#lose); // by its restart; should it not be so, the next state tells
    model.on("destroy", this.#lose);
  }

  /** The front end's widget manager: something else in each, if there is one. */
  get manager(): unknown {
    return this.#model.widget_manager;
  }

  /** One part; `S` names its slices. */
  part<S extends object = Record<string, unknown>>(name: string): PartHost<S> {
    const part = this.#parts.get(name);
    if (!part) throw new Error(`the panel has no part ${name}; it has ${this.partNames.join(", ")}`);
    return part as unknown as PartHost<S>;
  }

  /** Send a message to the kernel, if there is one. */
  send(content: Record<string, unknown>): void {
    this.#model.send(content);
  }

  /** Listen no more; calls under way fail. */
  dispose(): void {
    this.#model.off("msg:custom", this.#take);
    this.#model.off("comm_live_update", this.#lose);
    this.#model.off("destroy", this.#lose);
    this.#lose();
  }

  readonly #take = ({ part: name, frames }: { part?: string; frames?: Frame[] }): void => {
    const part = this.#parts.get(name ?? "");
    if (!part || !frames) return;
    for (const frame of frames) part.take(frame);
    const isWhole = [...this.#parts.values()].every((each) => each.hasState);
    if (isWhole && this.connection.peek() !== "live") this.connection.value = "live";
  };

  readonly #lose = (): void => {
    this.connection.value = "gone";
    for (const part of this.#parts.values()) part.lose();
  };
}

/** One part of a panel: its slices as signals, its events, and calls to it. */
export class PartHost<S extends object = Record<string, unknown>> {
  readonly #slices = new Map<PropertyKey, Signal<unknown>>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #calls = new Map<string, Call>();
  readonly #unheard = signal<ReadonlySet<string>>(new Set());
  readonly #host: Pick<Host, "connection" | "send">;
  #count = 0;

  /** Whether the kernel has told the whole state since it was last heard of. */
  hasState = false;

  /** Whether a call has not reached the kernel for a while: it runs a cell, and will do it when that has ended. */
  readonly isBusy: ReadonlySignal<boolean> = computed(() => this.#unheard.value.size > 0);

  /** The last error of work that nobody called for, such as a look in the background; set it to `null` to dismiss. */
  readonly problem: Signal<Problem | null> = signal(null);

  constructor(
    readonly name: string,
    host: Pick<Host, "connection" | "send">,
  ) {
    this.#host = host;
  }

  /** A piece of the state; `undefined` until the kernel has told it. */
  slice<K extends keyof S>(name: K): ReadonlySignal<S[K] | undefined> {
    return this.#slice(name) as ReadonlySignal<S[K] | undefined>;
  }

  /** Have the kernel do something; resolves when it is done, and rejects with a `CallError` that says why not. */
  call(name: string, args: Record<string, unknown> = {}): Promise<void> {
    if (this.#host.connection.peek() === "gone") return Promise.reject(new CallError(GONE));
    const id = `${PAGE}-${this.name}-${++this.#count}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => (this.#unheard.value = new Set(this.#unheard.value).add(id)), BUSY_MS);
      this.#calls.set(id, { resolve, reject, timer });
      this.#host.send({ part: this.name, call: name, args, id });
    });
  }

  /** Hear of an event; returns what ends that. */
  on<T>(event: string, listener: (data: T) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener as Listener));
    return () => listeners.delete(listener as Listener);
  }

  /** Take what the kernel tells. */
  take(frame: Frame): void {
    if ("state" in frame || "set" in frame) {
      const isWhole = "state" in frame;
      this.hasState ||= isWhole;
      batch(() => {
        for (const [name, value] of Object.entries(isWhole ? frame.state : frame.set)) this.#slice(name).value = value;
      });
    } else if ("event" in frame) {
      if (frame.event === "problem") this.problem.value = frame.data as Problem;
      for (const listener of this.#listeners.get(frame.event) ?? []) listener(frame.data as never);
    } else if ("ack" in frame) {
      this.#heard(frame.ack);
    } else {
      const call = this.#heard(frame.done);
      this.#calls.delete(frame.done);
      if (frame.error) call?.reject(new CallError(frame.error));
      else call?.resolve();
    }
  }

  /** Give up what was called for: the kernel is gone. */
  lose(): void {
    this.hasState = false;
    for (const [id, call] of this.#calls) {
      this.#heard(id);
      call.reject(new CallError(GONE));
    }
    this.#calls.clear();
  }

  /** Note that a call has reached the kernel. Calls of other pages are not ours. */
  #heard(id: string): Call | undefined {
    const call = this.#calls.get(id);
    clearTimeout(call?.timer);
    if (this.#unheard.peek().has(id)) {
      this.#unheard.value = new Set([...this.#unheard.peek()].filter((each) => each !== id));
    }
    return call;
  }

  #slice(name: PropertyKey): Signal<unknown> {
    const known = this.#slices.get(name) ?? signal<unknown>(undefined);
    this.#slices.set(name, known);
    return known;
  }
}

/** Tells this page's calls from those of other pages with the same panel. */
const PAGE = uniqueId();

/** A name that nobody else has. `crypto.randomUUID` is missing on pages that came over plain HTTP. */
export function uniqueId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
