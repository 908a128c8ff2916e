/** Shows components in the test's page, and waits until what changed is drawn. */

import { render, type ComponentChild } from "preact";
import { act } from "preact/test-utils";

/** Draw something below `document.body`, as in a panel. */
export function show(child: ComponentChild): HTMLElement {
  const root = document.body.appendChild(document.createElement("div"));
  root.className = "farm-panel";
  act(() => render(child, root));
  return root;
}

/** Do something, and wait until the page shows what came of it. */
export async function settle(change: () => unknown = () => undefined): Promise<void> {
  await act(async () => {
    await change();
  });
}

/** Take everything away again; for `afterEach`. */
export function clear(): void {
  for (const root of document.body.querySelectorAll(":scope > .farm-panel")) render(null, root);
  document.body.replaceChildren();
  document.head.replaceChildren();
}

/** The button with this text or label. */
export function button(name: string, within: ParentNode = document): HTMLButtonElement {
  const all = [...within.querySelectorAll("button")];
  const found = all.find((each) => (each.getAttribute("aria-label") ?? each.textContent?.trim()) === name);
  if (!found) throw new Error(`no button ${name}; there are ${all.map((each) => each.textContent).join(", ")}`);
  return found;
}
