/** Names for elements that refer to each other. Preact's own `useId` gives every panel of a page the same ones. */

import { useState } from "preact/hooks";
import { uniqueId } from "./host";

/** A name that no other element of the page has; the same as long as the component lives. */
export function useUniqueId(): string {
  return useState(() => `farm-${uniqueId()}`)[0];
}
