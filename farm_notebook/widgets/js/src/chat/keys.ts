/** Keeps a panel's keys from the page around it: in JupyterLab's command mode, `D D` would delete the panel's cell. */

import { useEffect } from "preact/hooks";
import type { RefObject } from "preact";

/** Lumino, below JupyterLab, takes no shortcut from within an element that has it. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/** Keys that mean the same everywhere: they save the notebook, also from a panel. */
function isForPage({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === "s";
}

/** Have all keys pressed within an element stay there but for those that are the page's. */
export function useOwnKeys(element: RefObject<HTMLElement | null>): void {
  useEffect(() => {
    const own = element.current;
    if (!own) return undefined;
    const decide = (event: KeyboardEvent): void => {
      own.toggleAttribute(SUPPRESS, !isForPage(event));
    };
    const keep = (event: KeyboardEvent): void => {
      if (!isForPage(event)) event.stopPropagation();
    };
    own.toggleAttribute(SUPPRESS, true);
    window.addEventListener("keydown", decide, { capture: true }); // before the page decides
    own.addEventListener("keydown", keep);
    return () => {
      window.removeEventListener("keydown", decide, { capture: true });
      own.removeEventListener("keydown", keep);
    };
  }, []);
}
