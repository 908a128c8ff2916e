/** Properties that are values or signals of them. */

import { useComputed, useSignal, type ReadonlySignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";

/** The present value; the component is rendered again when the signal changes. */
export function useValue<T extends string | boolean>(value: T | ReadonlySignal<T>): T {
  return isSignal(value) ? value.value : value;
}

/** A signal that follows the property, whichever of both it is. */
export function useAsSignal<T extends string | boolean>(value: T | ReadonlySignal<T>): ReadonlySignal<T> {
  const source = useSignal(value);
  useLayoutEffect(() => void (source.value = value), [value]);
  return useComputed(() => {
    const present = source.value;
    return isSignal(present) ? present.value : present;
  });
}

function isSignal<T>(value: T | ReadonlySignal<T>): value is ReadonlySignal<T> {
  return typeof value === "object" && value !== null;
}
