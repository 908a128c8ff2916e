/** Hides the static output of a panel in this page while the panel lives. */

import { effect } from "@preact/signals";
import type { Host } from "./host";

/** Hide it from when the state has arrived; returns what shows it again. */
export function hideStatic(host: Host): () => void {
  const style = document.createElement("style");
  const output = `.farm-static-${host.panelId.replace(/\W/g, "")}`; // it may come out of a saved notebook
  // Not :has() of a descendant: every change in a panel would have the page look for it in all that the panel holds.
  const child = `.jp-OutputArea-child:has(> .jp-OutputArea-output > ${output})`;
  style.textContent = `${child}, ${output} { display: none !important; }`;
  const end = effect(() => {
    if (host.connection.value === "waiting") style.remove();
    else document.head.append(style);
  });
  return () => {
    end();
    style.remove();
  };
}
