/** Hides the static output of a panel in this page while the panel lives. */

import { effect } from "@preact/signals";
import type { Host } from "./host";

/** Hide it from when the state has arrived; returns what shows it again. */
export function hideStatic(host: Host): () => void {
  const style = document.createElement("style");
  const output = `.farm-static-${host.panelId.replace(/\W/g, "")}`; // it may come out of a saved notebook
  style.textContent = `.jp-OutputArea-child:has(${output}), ${output} { display: none !important; }`;
  const end = effect(() => {
    if (host.connection.value === "waiting") style.remove();
    else document.head.append(style);
  });
  return () => {
    end();
    style.remove();
  };
}
