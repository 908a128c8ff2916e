/** A list to choose from, narrowed by what is typed; what is typed can be chosen as well. */

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { useUniqueId } from "../base";
import { Icon } from "./icons";

export interface Choice {
  /** What is chosen; `null` is the default. */
  value: string | null;
  label: string;
  note?: string;
  group?: string;
}

export interface PickerProps {
  label: string;
  placeholder: string;
  choices: readonly Choice[];
  chosen: string | null;
  /** What is offered for a text that is none of the choices; nothing where this is missing. */
  offer?: (typed: string) => string;
  onChoose: (value: string | null) => void;
  /** A line below: that the list is on its way, or why there is none. */
  status?: string;
}

export function Picker({ label, placeholder, choices, chosen, offer, onChoose, status }: PickerProps) {
  const typed = useSignal("");
  const active = useSignal(0);
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useUniqueId();
  useLayoutEffect(() => input.current?.focus(), []); // before the next key is pressed
  const shown = narrowed(choices, typed.value, offer);
  const at = Math.min(active.value, shown.length - 1);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView?.({ block: "nearest" });
  }, [at, typed.value]);
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const step = steps[event.key];
    const choice = shown[at];
    if (step !== undefined) active.value = Math.max(0, Math.min(shown.length - 1, at + step));
    else if (event.key === "Enter" && choice) onChoose(choice.value);
    else return;
    event.preventDefault();
  };
  return (
    <div class="farm-picker">
      <input
        ref={input}
        class="farm-input"
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded="true"
        aria-controls={id}
        aria-autocomplete="list"
        {...(at >= 0 ? { "aria-activedescendant": `${id}-${at}` } : {})}
        placeholder={placeholder}
        spellcheck={false}
        autocomplete="off"
        value={typed.value}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
          active.value = 0;
        }}
        onKeyDown={onKeyDown}
      />
      <ul class="farm-picker-list" id={id} role="listbox" aria-label={label} ref={list}>
        {shown.map((choice, index) => (
          <Option
            key={choice.value ?? ""}
            id={`${id}-${index}`}
            choice={choice}
            isFirst={choice.group !== shown[index - 1]?.group}
            isActive={index === at}
            isChosen={choice.value === chosen}
            onChoose={() => onChoose(choice.value)}
          />
        ))}
      </ul>
      {status ? (
        <p class="farm-picker-status" role="status">
          {status}
        </p>
      ) : null}
    </div>
  );
}

interface OptionProps {
  id: string;
  choice: Choice;
  /** Whether it is the first of its group. */
  isFirst: boolean;
  isActive: boolean;
  isChosen: boolean;
  onChoose: () => void;
}

function Option({ id, choice, isFirst, isActive, isChosen, onChoose }: OptionProps) {
  return (
    <>
      {isFirst && choice.group ? (
        <li class="farm-picker-group" role="presentation">
          {choice.group}
        </li>
      ) : null}
      <li class="farm-picker-option" id={id} role="option" aria-selected={isActive} onClick={onChoose}>
        <span class="farm-picker-check">{isChosen ? <Icon name="check" /> : null}</span>
        <span class="farm-picker-label">{choice.label}</span>
        {isChosen ? <span class="farm-unseen">, chosen</span> : null}
        {choice.note ? <span class="farm-picker-note">{choice.note}</span> : null}
      </li>
    </>
  );
}

/** The choices in which every word occurs, and then the text itself. */
function narrowed(choices: readonly Choice[], typed: string, offer: PickerProps["offer"]): Choice[] {
  const text = typed.trim();
  const words = text.toLowerCase().split(/\s+/);
  const found = choices.filter(({ label, group, note }) => {
    const all = `${label} ${group ?? ""} ${note ?? ""}`.toLowerCase();
    return words.every((word) => all.includes(word));
  });
  const isNew = text !== "" && offer !== undefined && !choices.some(({ value }) => value === text);
  return isNew ? [...found, { value: text, label: offer(text) }] : found;
}
