/** Keeps a panel's keys from the page around it: in JupyterLab's command mode, `D D` would delete the panel's cell. */

/** Lumino, below JupyterLab, takes no shortcut from within an element that has it. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/** Have all keys that are pressed within an element stay there, but for those that are the page's; returns what ends that. */
export function keepKeys(element: HTMLElement): () => void {
  const decide = (event: KeyboardEvent): void => {
    element.toggleAttribute(SUPPRESS, !isForPage(event));
  };
  const keep = (event: KeyboardEvent): void => {
    if (!isForPage(event)) event.stopPropagation();
  };
  element.toggleAttribute(SUPPRESS, true);
  window.addEventListener("keydown", decide, { capture: true }); // before the page decides
  element.addEventListener("keydown", keep);
  return () => {
    window.removeEventListener("keydown", decide, { capture: true });
    element.removeEventListener("keydown", keep);
  };
}

/** Keys that mean the same everywhere: they save the notebook, also from a panel. */
function isForPage({ key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  return (ctrlKey || metaKey) && !altKey && key.toLowerCase() === "s";
}
