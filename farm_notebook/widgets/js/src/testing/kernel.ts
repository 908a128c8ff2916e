/** A kernel for tests: the model that a host talks to, with what the page sent, and means to answer. */

import { Host, type Model, type PartHost, type Problem } from "../base/host";

type Content = Record<string, unknown>;
type AnyListener = (...args: unknown[]) => void;

export class FakeKernel implements Model {
  /** What the page has sent, oldest first. */
  readonly sent: Content[] = [];
  readonly #listeners = new Map<string, Set<AnyListener>>();

  constructor(
    readonly partNames: string[],
    readonly panelId = "cafe0123",
  ) {}

  get(name: string): unknown {
    return { panel_id: this.panelId, part_names: this.partNames }[name];
  }

  send(content: unknown): void {
    this.sent.push(content as Content);
  }

  on(event: string, listener: (...args: never[]) => void): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener as AnyListener));
  }

  off(event: string, listener: (...args: never[]) => void): void {
    this.#listeners.get(event)?.delete(listener as AnyListener);
  }

  /** How many listen to an event. */
  listeners(event: string): number {
    return this.#listeners.get(event)?.size ?? 0;
  }

  /** As the widget manager tells: `msg:custom`, `comm_live_update`, `destroy`. */
  trigger(event: string, ...args: unknown[]): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(...args);
  }

  /** Tell the page frames of a part. */
  tell(part: string, ...frames: Content[]): void {
    this.trigger("msg:custom", { part, frames });
  }

  /** Tell the page new values of slices. */
  set(part: string, slices: Content): void {
    this.tell(part, { set: slices });
  }

  /** The calls that the page has made, oldest first. */
  get calls(): { part: string; call: string; args: Content; id: string }[] {
    return this.sent.filter((each) => "call" in each) as never;
  }

  /** End the last call. */
  done(error: Problem | null = null): void {
    const last = this.calls.at(-1);
    if (!last) throw new Error("nothing was called");
    this.tell(last.part, { ack: last.id }, { done: last.id, error });
  }
}

/** A part's host, its state told; for tests of a component. */
export function partWith<S extends object>(name: string, slices: S): { kernel: FakeKernel; host: PartHost<S> } {
  const kernel = new FakeKernel([name]);
  const host = new Host(kernel).part<S>(name);
  kernel.tell(name, { state: slices });
  return { kernel, host };
}
