/** One question and its answer, also while that is on its way. */

import { useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Button, ErrorNote, formats, useAction } from "../base";
import { Answer, Reasoning, copyText, type CodeAction } from "../markdown";
import { grow, isEnter } from "./composer";
import { IconButton } from "./icons";
import { turnOf, type Attempt, type ChatHost, type Picture, type Question } from "./state";
import { streamOf } from "./stream";

export interface TurnProps {
  host: ChatHost;
  name: string;
  isLast: boolean;
  codeActions: readonly CodeAction[];
}

/** It is rendered again when itself changes, and not with every turn: there may be hundreds. */
export function TurnView({ host, name, isLast, codeActions }: TurnProps) {
  const stream = streamOf(host);
  const isRunning = useComputed(() => host.slice("running").value?.name === name);
  const text = useComputed(() => (isRunning.value ? stream.text.value : (turnOf(host, name)?.answer.text ?? "")));
  const reasoning = useComputed(() =>
    isRunning.value ? stream.reasoning.value : (turnOf(host, name)?.answer.reasoning ?? ""),
  );
  const hasText = useComputed(() => text.value !== "");
  const isThinking = useComputed(() => isRunning.value && !hasText.value);
  const turn = turnOf(host, name);
  const question = isRunning.value ? host.slice("running").value?.question : turn?.question;
  const retry = useAction(() => host.call("retry", { turn: name }));
  if (!question) return null;
  return (
    <article class="farm-turn" aria-label={`Question: ${heading(question)}`}>
      <QuestionView host={host} name={name} question={question} />
      <div class="farm-reply" aria-busy={isRunning.value}>
        <Reasoning text={reasoning} isStreaming={isThinking} />
        {isRunning.value && !hasText.value ? <Waiting host={host} /> : null}
        <Answer text={text} isStreaming={isRunning} codeActions={codeActions} />
        {turn && !isRunning.value ? (
          <>
            <ErrorNote problem={turn.problem} />
            {turn.problem && isLast ? (
              <Button onClick={retry.run} isRunning={retry.isRunning.value}>
                Retry
              </Button>
            ) : null}
            <footer class="farm-reply-foot">
              <span class={turn.answer.is_partial ? "farm-reply-facts farm-reply-partial" : "farm-reply-facts"}>
                {turn.answer.footer}
              </span>
              <span class="farm-tools">
                <CopyButton label="Copy the answer" text={turn.answer.text} />
                {isLast ? <IconButton name="retry" label="Ask again" onClick={retry.run} /> : null}
              </span>
            </footer>
            <ErrorNote problem={retry.problem.value} onDismiss={() => (retry.problem.value = null)} />
          </>
        ) : null}
      </div>
    </article>
  );
}

/** A question that got no answer: why, and what can be done. */
export function AttemptView({ host, attempt }: { host: ChatHost; attempt: Attempt }) {
  const retry = useAction(() => host.call("retry", { turn: null }));
  const dismiss = useAction(() => host.call("dismiss"));
  return (
    <article class="farm-turn" aria-label={`Question: ${heading(attempt.question)}`}>
      <Bubble question={attempt.question} />
      <div class="farm-reply">
        {attempt.problem ? (
          <ErrorNote problem={attempt.problem} />
        ) : (
          <p class="farm-chat-muted">Stopped before the answer began.</p>
        )}
        <ErrorNote problem={retry.problem.value ?? dismiss.problem.value} />
        <div class="farm-attempt-buttons">
          <Button onClick={retry.run} isRunning={retry.isRunning.value}>
            Retry
          </Button>
          <Button onClick={dismiss.run}>Discard</Button>
        </div>
      </div>
    </article>
  );
}

interface QuestionProps {
  host: ChatHost;
  name: string;
  question: Question;
}

function QuestionView({ host, name, question }: QuestionProps) {
  const isEdited = useSignal(false);
  const button = useRef<HTMLDivElement>(null);
  const close = (): void => {
    isEdited.value = false;
    setTimeout(() => button.current?.querySelector<HTMLElement>("button")?.focus());
  };
  if (isEdited.value) return <Editing host={host} name={name} question={question} close={close} />;
  return (
    <div class="farm-question" ref={button}>
      <span class="farm-tools farm-idle">
        <IconButton name="edit" label="Edit the question" onClick={() => (isEdited.value = true)} />
      </span>
      <Bubble question={question} />
    </div>
  );
}

function Editing({ host, name, question, close }: QuestionProps & { close: () => void }) {
  const text = useSignal(question.text);
  const turns = host.slice("turns").value ?? [];
  const after = turns.length - 1 - turns.indexOf(name);
  const field = useRef<HTMLTextAreaElement>(null);
  const send = useAction(async () => {
    await host.call("edit", { turn: name, text: text.peek() });
    close();
  });
  useLayoutEffect(() => grow(field.current), [text.value]);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(text.peek().length, text.peek().length);
  }, []);
  return (
    <div class="farm-editing">
      <textarea
        ref={field}
        class="farm-input"
        aria-label="The question in other words"
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            close();
          } else if (isEnter(event)) {
            event.preventDefault();
            send.run();
          }
        }}
      />
      <div class="farm-editing-row">
        <span class="farm-chat-muted">{after ? `${questions(after)} after it will be forgotten.` : ""}</span>
        <Button onClick={close}>Cancel</Button>
        <Button kind="primary" onClick={send.run} isRunning={send.isRunning.value}>
          Send
        </Button>
      </div>
      <ErrorNote problem={send.problem.value} onDismiss={() => (send.problem.value = null)} />
    </div>
  );
}

/** A question that is longer is folded. */
const LONG_CHARS = 1_200;
const LONG_LINES = 16;

function Bubble({ question }: { question: Question }) {
  const isOpen = useSignal(false);
  const { text } = question;
  const isLong = text.length > LONG_CHARS || text.split("\n", LONG_LINES + 1).length > LONG_LINES;
  return (
    <div class="farm-bubble">
      {question.images.length ? (
        <ul class="farm-bubble-pictures" aria-label="Pictures">
          {question.images.map((each, index) => (
            <li key={index}>
              <PictureView picture={each} />
            </li>
          ))}
        </ul>
      ) : null}
      <div class={isLong && !isOpen.value ? "farm-bubble-folded" : ""}>{text}</div>
      {isLong ? (
        <button
          type="button"
          class="farm-bubble-more"
          aria-expanded={isOpen.value}
          onClick={() => (isOpen.value = !isOpen.peek())}
        >
          {isOpen.value ? "Show less" : "Show all of it"}
        </button>
      ) : null}
    </div>
  );
}

function PictureView({ picture }: { picture: Picture }) {
  const what = `${picture.type.replace("image/", "").toUpperCase()} picture, ${formats.bytes(picture.size_bytes)}`;
  return picture.url === null ? <span class="farm-chat-muted">{what}</span> : <img src={picture.url} alt={what} />;
}

function Waiting({ host }: { host: ChatHost }) {
  return (
    <p class="farm-waiting">
      <span class="farm-dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {host.slice("note").value || asked(host)}
    </p>
  );
}

/** Who is asked, once that is known. */
function asked(host: ChatHost): string {
  const model = host.slice("running").value?.model ?? "";
  return /(^|:)auto$/.test(model) ? "" : model;
}

function CopyButton({ label, text }: { label: string; text: string }) {
  const isDone = useSignal(false);
  const copy = (): void => {
    copyText(text).then(
      () => {
        isDone.value = true;
        setTimeout(() => (isDone.value = false), 2_000);
      },
      () => undefined,
    );
  };
  return <IconButton name={isDone.value ? "check" : "copy"} label={isDone.value ? "Copied" : label} onClick={copy} />;
}

function questions(count: number): string {
  return count === 1 ? "The question" : `The ${count} questions`;
}

function heading({ text }: Question): string {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
