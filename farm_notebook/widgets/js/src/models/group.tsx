/** The models of one provider below its name and its health; they can be folded away. */

import type { Signal } from "@preact/signals";
import { useUniqueId } from "../base";
import { Icon } from "../chat/icons";
import { STOP } from "./keys";
import { Row, type RowProps } from "./row";
import type { Entry, Provider } from "./values";

interface GroupProps extends Omit<RowProps, "entry"> {
  name: string;
  provider: Provider | undefined;
  shown: readonly Entry[];
  /** How many of them are drawn. */
  drawn: number;
  folded: Signal<ReadonlySet<string>>;
}

export function Group({ name, provider, shown, drawn, folded, ...rest }: GroupProps) {
  const id = useUniqueId();
  const isSearched = rest.words.length > 0; // what was found is not hidden
  const isOpen = isSearched || !folded.value.has(name);
  const toggle = (): void => {
    const next = new Set(folded.peek());
    if (!next.delete(name)) next.add(name);
    folded.value = next;
  };
  return (
    <div class="farm-models-group" role="group" aria-labelledby={id}>
      <header>
        <button type="button" {...{ [STOP]: "" }} tabIndex={-1} aria-expanded={isOpen} onClick={toggle}>
          <Icon name="chevron" />
          <span id={id}>{name}</span>
          {provider ? <Health provider={provider} /> : null}
          <span class="farm-models-count">{shown.length > 0 ? shown.length : ""}</span>
        </button>
      </header>
      {provider && (!provider.healthy || shown.length === 0) && !isSearched ? (
        <p class="farm-models-ailment">
          {provider.detail}
          {provider.fix === null ? null : <code>{provider.fix}</code>}
        </p>
      ) : null}
      {isOpen && shown.length > 0 ? (
        <ul aria-labelledby={id}>
          {shown.slice(0, drawn).map((entry) => (
            <Row key={entry.name} entry={entry} {...rest} />
          ))}
        </ul>
      ) : null}
    </div>
  );
}

function Health({ provider: { healthy, detail } }: { provider: Provider }) {
  return (
    <span class="farm-models-health" title={detail}>
      <span class={`farm-dot farm-dot-${healthy ? "good" : "bad"}`} aria-hidden="true" />
      <span class={healthy ? "farm-unseen" : "farm-bad"}>{healthy ? ", ok" : "not ok"}</span>
    </span>
  );
}
