/** One view of a panel: it says hello, tells which parts can be seen in it, and says goodbye. */

import { effect, signal, type Signal } from "@preact/signals";
import { uniqueId, type Host } from "./host";
import { watchVisibility } from "./visibility";

/** How often a view says that it is still there; the kernel forgets one that was silent for 45 s. */
export const AGAIN_MS = 15_000;

export class View {
  readonly id = uniqueId();

  /** The parts that are laid out in this view: a component with tabs sets it to those of the open one. */
  readonly laidOut: Signal<readonly string[]>;

  readonly #host: Host;
  readonly #endings: (() => void)[] = [];
  readonly #isVisible = signal(false);
  #hasSaidHello = false;

  constructor(host: Host, element: Element) {
    this.#host = host;
    this.laidOut = signal(host.partNames);
    this.#endings.push(watchVisibility(element, (isVisible) => (this.#isVisible.value = isVisible)));
    this.#endings.push(effect(() => this.#tell(this.#isVisible.value ? this.laidOut.value : [])));
    const again = setInterval(() => this.#tell(this.#isVisible.value ? this.laidOut.value : []), AGAIN_MS);
    this.#endings.push(() => clearInterval(again));
  }

  dispose(): void {
    for (const end of this.#endings) end();
    this.#host.send({ view: this.id, bye: true });
  }

  #tell(shows: readonly string[]): void {
    const hello = this.#hasSaidHello ? {} : { hello: true };
    this.#hasSaidHello = true;
    this.#host.send({ view: this.id, shows: [...shows], ...hello });
  }
}
