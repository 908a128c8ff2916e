/** One line of the list: a name to choose, quiet facts, and what can be done with the model. */

import { useComputed, type Signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { ErrorNote, formats, type PartHost } from "../base";
import { Icon } from "../chat/icons";
import { STOP } from "./keys";
import { Progress } from "./progress";
import { marked } from "./search";
import { abilities, ALIASES, tokens, type Entry, type Model, type ModelsSlices, type State } from "./values";

/** Has the kernel do something with a model. */
export type Act = (call: string, name: string, more?: Record<string, unknown>) => void;

export interface RowProps {
  host: PartHost<ModelsSlices>;
  entry: Entry;
  words: readonly string[];
  act: Act;
  /** The line that the Tab key leads to. */
  current: Signal<string>;
}

export function Row({ host, entry, words, act, current }: RowProps) {
  const { name, model } = entry;
  const state = useComputed(() => host.slice("states").value?.[name]).value;
  const work = useComputed(() => host.slice("works").value?.[name]).value;
  const problem = useComputed(() => host.slice("problems").value?.[name]).value;
  const isWatched = useComputed(() => host.slice("watched").value?.includes(name) ?? false).value;
  const chosen = useComputed(() => how(entry, host.slice("default").value)).value;
  const isDefault = chosen !== "";
  const isCurrent = useComputed(() => current.value === name).value;
  const main = useRef<HTMLButtonElement>(null);
  const actHere: Act = (...what) => {
    main.current?.focus(); // the control that did it may go
    act(...what);
  };
  const isFitTold = isFitOf(model, state);
  return (
    <li class={`farm-models-row${isDefault ? " farm-models-default" : ""}`} onFocusIn={() => (current.value = name)}>
      <div class={`farm-models-line${isFitTold || (model && !model.is_here) ? " farm-models-telling" : ""}`}>
        <button
          type="button"
          ref={main}
          class="farm-models-main"
          {...{ [STOP]: "" }}
          tabIndex={isCurrent ? 0 : -1}
          aria-pressed={isDefault}
          title={model?.description || name}
          onClick={() => act("choose", name)}
        >
          <span class="farm-models-check">{isDefault ? <Icon name="check" /> : null}</span>
          <span class="farm-models-name">
            <Marked text={entry.label} words={words} />
          </span>
          <Badges entry={entry} state={state} chosen={chosen} isWatched={isWatched} />
          {model ? <Facts model={model} isFitTold={isFitTold} /> : <span class="farm-models-note">{entry.note}</span>}
        </button>
        {work ? null : (
          <Actions entry={entry} state={state} chosen={chosen} isWatched={isWatched} isCurrent={isCurrent} act={actHere} />
        )}
      </div>
      {work ? <Progress name={name} work={work} onCancel={() => actHere("cancel", name)} /> : null}
      {problem ? (
        <ErrorNote problem={problem} onDismiss={() => actHere("dismiss", name)} />
      ) : (
        state?.state === "failed" && state.detail && <p class="farm-models-failed">{state.detail}</p>
      )}
    </li>
  );
}

/** How a line answers where no model is named: it was chosen, or what was chosen leads to it; empty where it does not. */
function how({ name, group }: Entry, chosen: ModelsSlices["default"] | undefined): string {
  if (name === chosen?.name) return "default";
  return group !== ALIASES && name === chosen?.ref ? "answers now" : "";
}

function Marked({ text, words }: { text: string; words: readonly string[] }) {
  if (words.length === 0) return <>{text}</>;
  return (
    <>
      {marked(text, words).map((piece, index) => (piece.isMatch ? <mark key={index}>{piece.text}</mark> : piece.text))}
    </>
  );
}

const DOING: Record<State["state"], string> = {
  loading: "loading",
  ready: "loaded",
  reloading: "reloading",
  draining: "ending its answers",
  aside: "in host memory",
  unloading: "unloading",
  failed: "failed",
};

interface BadgesProps {
  entry: Entry;
  state: State | undefined;
  chosen: string;
  isWatched: boolean;
}

function Badges({ entry: { model }, state, chosen, isWatched }: BadgesProps) {
  const isLoaded = state ? state.state === "ready" : (model?.is_loaded ?? false);
  const told: [string, string][] = [];
  if (chosen) told.push(["accent", chosen]);
  if (isLoaded) told.push(["good", `loaded${where(state)}`]);
  else if (state) told.push([state.state === "failed" ? "bad" : "warn", DOING[state.state]]);
  else if (model?.is_here) told.push(["quiet", model.is_available ? "on this machine" : "to be fetched"]);
  if (state?.is_pinned) told.push(["quiet", "pinned"]);
  if (isWatched) told.push(["quiet", "watched"]);
  return (
    <span class="farm-models-badges">
      {told.map(([kind, text]) => (
        <span key={text} class={`farm-models-badge farm-models-${kind}`}>
          {text}
        </span>
      ))}
    </span>
  );
}

/** Where it is loaded, where that is not the memory of the machine. */
function where(state: State | undefined): string {
  const devices = state?.devices.filter((each) => each !== "cpu") ?? [];
  return devices.length > 0 ? ` on ${devices.join(", ")}` : "";
}

/** Whether it matters if a model fits: it is not there yet. */
function isFitOf(model: Model | null, state: State | undefined): boolean {
  return model !== null && model.fit !== null && !model.is_loaded && (!state || state.state === "failed");
}

function Facts({ model, isFitTold }: { model: Model; isFitTold: boolean }) {
  const can = abilities(model);
  return (
    <span class="farm-models-facts">
      <span class="farm-models-can">
        {can.map((each) => (
          <span key={each}>{each}</span>
        ))}
      </span>
      <span class="farm-models-context">
        {model.context_tokens === null ? null : (
          <>
            <span class="farm-unseen">, </span>
            {tokens(model.context_tokens)} <small>context</small>
          </>
        )}
      </span>
      <span class="farm-models-size">
        {model.size_bytes === null ? null : (
          <span>
            {formats.bytes(model.size_bytes)} {isFitTold ? <Fit fit={model.fit} /> : null}
          </span>
        )}
        {price(model)}
      </span>
    </span>
  );
}

function Fit({ fit }: { fit: Model["fit"] }) {
  const kind = { fits: "good", tight: "warn", "too large": "bad" }[fit ?? "fits"];
  const why = {
    fits: "There is memory for it just now",
    tight: "Its weights fit into what is free just now; a long conversation may not",
    "too large": "It is larger than what is free just now",
  }[fit ?? "fits"];
  return (
    <span class={`farm-models-fit farm-models-${kind}`} title={why}>
      {fit}
    </span>
  );
}

/** For a million tokens, in and out. What runs here costs nothing, and says nothing. */
function price({ is_here, input_price, output_price }: Model) {
  if (is_here && !input_price && !output_price) return null;
  if (input_price === null || output_price === null) return <span title="The price is not known">price unknown</span>;
  return (
    <span title="For a million tokens of the prompt, and of the answer">
      {formats.dollars(input_price)} · {formats.dollars(output_price)}
    </span>
  );
}

interface ActionsProps extends BadgesProps {
  isCurrent: boolean;
  act: Act;
}

/** What can be done; seen at the line under the pointer and at the one with the focus. The line itself chooses. */
function Actions({ entry: { name, label, group, model }, state, chosen, isWatched, isCurrent, act }: ActionsProps) {
  const can: [string, string, Record<string, unknown>?][] = [];
  const isLoaded = state?.state === "ready" || state?.state === "aside";
  const isFree = !state || state.state === "failed";
  if (group !== ALIASES && (model === null || model.is_here)) {
    if (isFree) can.push(["load", "Load"]);
    if (isFree && !model?.is_available) can.push(["pull", "Pull"]);
    if (isLoaded) can.push(["unload", "Unload"], ["reload", "Reload"]);
    if (isLoaded) can.push(["pin", state.is_pinned ? "Unpin" : "Pin", { is_pinned: !state.is_pinned }]);
    if (isLoaded || isWatched) can.push(["watch", isWatched ? "Unwatch" : "Watch", { is_watched: !isWatched }]);
  }
  return (
    <div class="farm-models-actions">
      {chosen ? null : (
        <span class="farm-models-choose" aria-hidden="true">
          Choose
        </span>
      )}
      {can.map(([call, title, more]) => (
        <button
          key={call}
          type="button"
          tabIndex={isCurrent ? 0 : -1}
          title={WHAT[title]}
          aria-label={`${title} ${label}`}
          onClick={() => act(call, name, more)}
        >
          {title}
        </button>
      ))}
    </div>
  );
}

const WHAT: Record<string, string> = {
  Load: "Bring it into memory, fetched first if need be",
  Pull: "Fetch its files, and load nothing",
  Unload: "Give its memory back",
  Reload: "Have it answer from its files as they are now",
  Pin: "Never give it up for another model",
  Unpin: "It may be given up for another model",
  Watch: "Load it anew whenever its files change",
  Unwatch: "Leave it as it is loaded",
};

