/** Where a question is written: it grows with the text, takes pictures, and becomes Stop while an answer streams. */

import { useSignal, type Signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ErrorNote, formats, useAction } from "../base";
import { Icon, IconButton } from "./icons";
import { readPictures, type Attached } from "./pictures";
import type { ChatHost, Totals } from "./state";

/** What is being written in one view. */
export interface Draft {
  text: Signal<string>;
  pictures: Signal<readonly Attached[]>;
  /** What could not be attached. */
  problem: Signal<string>;
}

export function useDraft(): Draft {
  return { text: useSignal(""), pictures: useSignal<readonly Attached[]>([]), problem: useSignal("") };
}

/** Attach pictures to a draft. */
export async function attach(draft: Draft, files: Iterable<File>): Promise<void> {
  const { pictures, problem } = await readPictures(files, draft.pictures.peek());
  draft.pictures.value = [...draft.pictures.peek(), ...pictures];
  draft.problem.value = problem;
}

export interface ComposerProps {
  host: ChatHost;
  draft: Draft;
  input: RefObject<HTMLTextAreaElement | null>;
  onSent: () => void;
  onStop: () => void;
}

export function Composer({ host, draft, input, onSent, onStop }: ComposerProps) {
  const isRunning = Boolean(host.slice("running").value);
  const isEmpty = !draft.text.value.trim() && !draft.pictures.value.length;
  const send = useAction(async () => {
    const [text, pictures] = [draft.text.peek(), draft.pictures.peek()];
    await host.call("send", { text, images: pictures.map(({ data }) => data) });
    if (draft.text.peek() === text) draft.text.value = "";
    draft.pictures.value = draft.pictures.peek().filter((each) => !pictures.includes(each));
    draft.problem.value = "";
    onSent();
  });
  const hint = useSignal("");
  const submit = (): void => {
    hint.value = isRunning ? "An answer is on its way. Press Escape to stop it first." : "";
    if (!isRunning && !isEmpty) send.run();
  };
  useEffect(() => void (hint.value = ""), [isRunning]);
  return (
    <div class="farm-composer">
      <ErrorNote problem={send.problem.value} onDismiss={() => (send.problem.value = null)} />
      <div class="farm-composer-box">
        <Thumbnails draft={draft} />
        <Writing draft={draft} input={input} onEnter={submit} />
        <div class="farm-composer-row">
          <AttachButton draft={draft} />
          <span class="farm-composer-hint" role="status">
            {hint.value || draft.problem.value}
          </span>
          <Figures totals={host.slice("totals").value} />
          {isRunning ? (
            <button type="button" class="farm-send farm-stop" aria-label="Stop" title="Stop (Escape)" onClick={onStop}>
              <span class="farm-stop-square" />
            </button>
          ) : (
            <button
              type="button"
              class="farm-send"
              aria-label="Send"
              title="Send (Enter)"
              aria-disabled={isEmpty || send.isRunning.value}
              onClick={submit}
            >
              <Icon name="send" />
            </button>
          )}
        </div>
      </div>
    </div>
  );
}

interface WritingProps {
  draft: Draft;
  input: RefObject<HTMLTextAreaElement | null>;
  onEnter: () => void;
}

function Writing({ draft, input, onEnter }: WritingProps) {
  useLayoutEffect(() => grow(input.current), [draft.text.value]);
  return (
    <textarea
      ref={input}
      class="farm-composer-text"
      rows={1}
      aria-label="Your question"
      placeholder="Ask anything"
      value={draft.text.value}
      onInput={(event) => (draft.text.value = event.currentTarget.value)}
      onKeyDown={(event) => {
        if (!isEnter(event)) return;
        event.preventDefault();
        onEnter();
      }}
      onPaste={(event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        if (!files.length) return;
        event.preventDefault();
        event.stopPropagation();
        void attach(draft, files);
      }}
    />
  );
}

/** Enter that is meant: not with Shift, and not the end of a word in an input method. */
export function isEnter(event: KeyboardEvent): boolean {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}

/** Make a text field as high as its text; the stylesheet bounds it. */
export function grow(field: HTMLTextAreaElement | null): void {
  if (!field) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function Thumbnails({ draft }: { draft: Draft }) {
  if (!draft.pictures.value.length) return null;
  return (
    <ul class="farm-attached" aria-label="Attached pictures">
      {draft.pictures.value.map((each) => (
        <li key={each.url}>
          <img src={each.url} alt={each.name} />
          <IconButton
            name="close"
            label={`Remove ${each.name}`}
            onClick={() => (draft.pictures.value = draft.pictures.peek().filter((other) => other !== each))}
          />
        </li>
      ))}
    </ul>
  );
}

function AttachButton({ draft }: { draft: Draft }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton name="attach" label="Attach pictures" onClick={() => field.current?.click()} />
      <input
        ref={field}
        class="farm-unseen"
        type="file"
        accept="image/png,image/jpeg,image/gif,image/webp"
        multiple
        tabIndex={-1}
        aria-hidden="true"
        onChange={(event) => {
          void attach(draft, [...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}

/** What the conversation came to so far. */
function Figures({ totals }: { totals: Totals | undefined }) {
  if (!totals || !(totals.input_tokens || totals.output_tokens)) return null;
  const cost = totals.cost ? ` · ${formats.dollars(totals.cost)}` : "";
  const { input_tokens: read, output_tokens: written } = totals;
  return (
    <span class="farm-composer-figures" title="Tokens read and written in this conversation, and their price">
      {formats.count(read)} in · {formats.count(written)} out{cost}
    </span>
  );
}
