/** Which models are listed: all, those on this machine, or those in memory. */

import { useUniqueId } from "../base";

export type Shown = "all" | "here" | "loaded";

const WORDS: Record<Shown, string> = { all: "All", here: "On this machine", loaded: "Loaded" };

/** A radio group, so that the arrow keys go through it. */
export function Filter({ chosen, onChoose }: { chosen: Shown; onChoose: (shown: Shown) => void }) {
  const group = useUniqueId();
  return (
    <fieldset class="farm-models-filter">
      <legend class="farm-unseen">Which models</legend>
      {(Object.keys(WORDS) as Shown[]).map((shown) => (
        <label key={shown}>
          <input type="radio" name={group} checked={shown === chosen} onChange={() => onChoose(shown)} />
          <span>{WORDS[shown]}</span>
        </label>
      ))}
    </fieldset>
  );
}
