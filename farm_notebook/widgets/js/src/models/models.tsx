/** The models: searched, chosen, loaded, fetched and given up. */

import { useComputed, useSignal, type Signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { BackgroundError, BusyNote, ErrorNote, useAction, type PartHost, type PartProps, type Problem } from "../base";
import { asProblem } from "../base/action";
import { IconButton } from "../chat/icons";
import { Filter, type Shown } from "./filter";
import { Group } from "./group";
import { enterList, isFind, moveFocus } from "./keys";
import type { Act } from "./row";
import { matches, wordsOf } from "./search";
import { AS_TYPED, entries, grouped, type Entry, type ModelsSlices } from "./values";

/** How many lines are drawn before the page is shown again. */
const AT_ONCE = 100;

export function ModelsPanel({ host }: PartProps<ModelsSlices>) {
  const typed = useSignal("");
  const filter = useSignal<Shown>("all");
  const folded = useSignal<ReadonlySet<string>>(new Set());
  const current = useSignal("");
  const search = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const problem = useSignal<Problem | null>(null);
  const act = useMemo(() => acting(host, problem), [host]);
  const all = useEntries(host);
  const text = typed.value.trim();
  const words = useMemo(() => wordsOf(text), [text]);
  const offered = useMemo(() => offer(text, all), [text, all]);
  const found = all.filter((each) => matches(each, words) && isShown(each, filter.value, host));
  const providers = host.slice("providers").value ?? [];
  const groups = grouped([...found, ...offered], words.length > 0 || filter.value !== "all" ? [] : providers);
  const drawn = useDrawn(`${filter.value} ${text}`, found.length + offered.length);
  keepCurrent(current, [...found, ...offered], host);

  const onKey = (event: KeyboardEvent): void => {
    if (!isHandled(event)) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab goes to other cells by these keys
  };
  const isHandled = (event: KeyboardEvent): boolean => {
    if (isFind(event, search.current)) focusAll(search.current);
    else if (event.target === search.current) return isSearching(event);
    else if (!list.current?.contains(event.target as Node)) return false;
    else if (event.key === "Escape") search.current?.focus();
    else return moveFocus(event, list.current, search.current);
    return true;
  };
  const isSearching = (event: KeyboardEvent): boolean => {
    const best = words.length > 0 ? found[0] : undefined;
    if (event.key === "ArrowDown" && list.current) enterList(list.current);
    else if (event.key === "Enter" && best) act("choose", best.name);
    else if (event.key === "Escape" && text) typed.value = "";
    else return false;
    return true;
  };
  return (
    <section class="farm-models" aria-label="Models" onKeyDown={onKey}>
      <Head host={host} />
      <div class="farm-models-tools">
        <input
          ref={search}
          type="text"
          class="farm-input"
          aria-label="Search models"
          placeholder="Search models, or what they can do"
          aria-keyshortcuts="/"
          spellcheck={false}
          autocomplete="off"
          value={typed.value}
          onInput={(event) => (typed.value = event.currentTarget.value)}
        />
        <Filter chosen={filter.value} onChoose={(shown) => (filter.value = shown)} />
      </div>
      <BusyNote host={host} />
      <ErrorNote problem={problem.value} onDismiss={() => (problem.value = null)} />
      <BackgroundError host={host} />
      <div class="farm-models-list" ref={list}>
        {groups.map(({ name, shown, from }) => (
          <Group
            key={name}
            drawn={Math.max(0, drawn - from)}
            name={name}
            provider={providers.find((each) => each.name === name)}
            shown={shown}
            folded={folded}
            host={host}
            words={words}
            act={act}
            current={current}
          />
        ))}
        {found.length + offered.length === 0 && all.length > 0 ? (
          <p class="farm-models-nothing">{NOTHING[filter.value]}</p>
        ) : null}
      </div>
      <Foot host={host} found={found.length} all={all.length} isNarrowed={found.length < all.length} />
    </section>
  );
}

/** How many lines are drawn: the first of them at once, so that typing stays quick, and the others right after. */
function useDrawn(what: string, all: number): number {
  const drawn = useSignal(AT_ONCE);
  const last = useRef(what);
  if (last.current !== what) {
    last.current = what;
    drawn.value = AT_ONCE;
  }
  useEffect(() => {
    if (drawn.value >= all) return undefined;
    const timer = setTimeout(() => (drawn.value += AT_ONCE));
    return () => clearTimeout(timer);
  }, [what, drawn.value, all]);
  return drawn.value;
}

const NOTHING: Record<Shown, string> = {
  all: "Nothing like that is listed.",
  here: "Nothing like that is on this machine.",
  loaded: "Nothing like that is in memory. The first answer of a model loads it; so does its button Load.",
};

/** What answers where none is named, and a button that has the providers asked again. */
function Head({ host }: PartProps<ModelsSlices>) {
  const refresh = useAction(() => host.call("refresh"));
  const isListing = (host.slice("is_listing").value ?? false) || refresh.isRunning.value;
  const chosen = host.slice("default").value ?? { name: "", ref: "" };
  return (
    <header class="farm-models-head">
      <h3>Models</h3>
      <span class="farm-models-answers" title="Answers where a cell names no model">
        default: <strong>{chosen.name}</strong>
        {chosen.ref && chosen.ref !== chosen.name ? <>, just now {chosen.ref}</> : null}
      </span>
      <span class={`farm-models-refresh${isListing ? " farm-models-asking" : ""}`}>
        <IconButton name="retry" label="Ask the providers again" onClick={refresh.run} />
      </span>
      <ErrorNote problem={refresh.problem.value} onDismiss={() => (refresh.problem.value = null)} />
    </header>
  );
}

interface FootProps extends PartProps<ModelsSlices> {
  found: number;
  all: number;
  isNarrowed: boolean;
}

function Foot({ host, found, all, isNarrowed }: FootProps) {
  const isListing = host.slice("is_listing").value && host.slice("listed_at").value === null;
  let told = `${all} in all`;
  if (isListing) told = "Asking the providers…";
  else if (isNarrowed) told = `${found} of ${all}`;
  return (
    <footer class="farm-models-foot">
      <span role="status">{told}</span>
      <span class="farm-models-keys" aria-hidden="true">
        <kbd>/</kbd> search <kbd>↑</kbd> <kbd>↓</kbd> go <kbd>Enter</kbd> choose <kbd>→</kbd> more
      </span>
    </footer>
  );
}

/** Has the kernel do things; what goes wrong with a model it tells at the model, and `problem` is what else does. */
function acting(host: PartHost<ModelsSlices>, problem: Signal<Problem | null>): Act {
  return (call, name, more = {}) => {
    problem.value = null;
    host.call(call, { name, ...more }).catch((error: unknown) => (problem.value = asProblem(error)));
  };
}

function focusAll(field: HTMLInputElement | null): void {
  field?.focus();
  field?.select();
}

/** All lines; they are made anew only when the list is another one. */
function useEntries(host: PartHost<ModelsSlices>): Entry[] {
  const further = useComputed(() => {
    const told = ["works", "problems", "states"] as const;
    return [...new Set(told.flatMap((each) => Object.keys(host.slice(each).value ?? {})))].sort().join("\n");
  });
  return useComputed(() => {
    const names = further.value.split("\n").filter(Boolean);
    return entries(host.slice("models").value ?? [], host.slice("aliases").value ?? [], names);
  }).value;
}

/** The text itself, which may be a model that nobody lists. */
function offer(text: string, all: readonly Entry[]): Entry[] {
  if (!text || /\s/.test(text) || all.some((each) => each.name === text)) return [];
  return [{ name: text, label: text, group: AS_TYPED, note: "", model: null }];
}

function isShown({ name, model }: Entry, shown: Shown, host: PartHost<ModelsSlices>): boolean {
  if (shown === "all") return true;
  if (shown === "here") return model !== null && model.is_here && model.is_available;
  return host.slice("states").value?.[name]?.state === "ready" || (model?.is_loaded ?? false);
}

/** See that the Tab key leads to a line that is there: the one that was there last, else the default. */
function keepCurrent(current: Signal<string>, shown: readonly Entry[], host: PartHost<ModelsSlices>): void {
  if (shown.some((each) => each.name === current.peek())) return;
  const chosen = host.slice("default").peek()?.ref;
  current.value = (shown.find((each) => each.name === chosen) ?? shown[0])?.name ?? "";
}
