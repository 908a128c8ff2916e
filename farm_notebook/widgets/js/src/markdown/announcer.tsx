/** Tells screen readers once that something has ended. What streams is in no live region: it would be read piecemeal. */

import { useSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { useValue } from "./values";

export interface AnnouncerProps {
  /** Whether it is still under way. */
  isBusy: boolean | ReadonlySignal<boolean>;
  /** What to say when it has ended. */
  message: string;
}

export function Announcer({ isBusy, message }: AnnouncerProps) {
  const isBusyNow = useValue(isBusy);
  const wasBusy = useRef(isBusyNow);
  const said = useSignal("");
  useEffect(() => {
    if (wasBusy.current !== isBusyNow) said.value = isBusyNow ? "" : message;
    wasBusy.current = isBusyNow;
  }, [isBusyNow]);
  return (
    <div class="farm-unseen" role="status" aria-live="polite">
      {said.value}
    </div>
  );
}
