/** Whether an element can be seen: it is on the screen, and the page is in front. */

/** Tell whether `element` can be seen, now and whenever that changes; returns what ends it. */
export function watchVisibility(element: Element, tell: (isVisible: boolean) => void): () => void {
  let isOnScreen = typeof IntersectionObserver === "undefined";
  let told: boolean | undefined;
  const look = (): void => {
    const isVisible = isOnScreen && document.visibilityState === "visible";
    if (isVisible !== told) tell((told = isVisible));
  };
  const observer =
    typeof IntersectionObserver === "undefined"
      ? undefined
      : new IntersectionObserver((entries) => {
          isOnScreen = entries.at(-1)?.isIntersecting ?? isOnScreen;
          look();
        });
  observer?.observe(element);
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    observer?.disconnect();
    document.removeEventListener("visibilitychange", look);
  };
}
