/** One view of a panel: it says hello, tells which parts can be seen in it, and says goodbye. */

import { effect, signal, untracked, type Signal } from "@preact/signals";
import { uniqueId, type Host } from "./host";
import { watchVisibility } from "./visibility";

/** How often a view says that it is still there; the kernel forgets one that was silent for 45 s. */
export const AGAIN_MS = 15_000;

/** When a view says hello again that was not answered; each time it waits twice as long.
 *
 * The first message may go to the kernel's main thread and wait there for a cell to end; later ones do not.
 */
export const FIRST_RETRY_MS = 250;

export class View {
  readonly id = uniqueId();

  /** The parts that are laid out in this view: a component with tabs sets it to those of the open one. */
  readonly laidOut: Signal<readonly string[]>;

  readonly #host: Host;
  readonly #isVisible = signal(false);
  readonly #endings: (() => void)[];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wait = FIRST_RETRY_MS;

  constructor(host: Host, element: Element) {
    this.#host = host;
    this.laidOut = signal(host.partNames);
    this.#endings = [
      watchVisibility(element, (isVisible) => (this.#isVisible.value = isVisible)),
      effect(() => {
        void [this.#isVisible.value, this.laidOut.value]; // what is told anew when it changes
        untracked(() => this.#tell());
      }),
    ];
  }

  dispose(): void {
    for (const end of this.#endings) end();
    clearTimeout(this.#timer);
    this.#host.send({ view: this.id, bye: true });
  }

  readonly #tell = (): void => {
    const shows = this.#isVisible.peek() ? [...this.laidOut.peek()] : [];
    const isWaiting = this.#host.connection.peek() !== "live";
    this.#host.send({ view: this.id, shows, ...(isWaiting ? { hello: true } : {}) });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#tell, isWaiting ? this.#wait : AGAIN_MS);
    this.#wait = Math.min(2 * this.#wait, AGAIN_MS);
  };
}
