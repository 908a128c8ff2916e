/** The chat panel: the conversation between its header and the place to write. */

import { useComputed, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { BackgroundError, BusyNote, ErrorNote, useAction } from "../base";
import { Announcer, JumpToEnd, useFollow, type CodeAction } from "../markdown";
import { attach, Composer, useDraft } from "./composer";
import { useExporting } from "./exporting";
import { Header } from "./header";
import { IconButton } from "./icons";
import type { NotebookCells } from "./notebook";
import type { ChatHost } from "./state";
import { Transcript } from "./transcript";

export interface ChatPanelProps {
  host: ChatHost;
  /** Takes cells, where the front end lets a page put them there. */
  notebook: NotebookCells | null;
}

export function ChatPanel({ host, notebook }: ChatPanelProps) {
  const root = useRef<HTMLElement>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  const draft = useDraft();
  const follow = useFollow();
  const stop = useAction(() => host.call("stop"));
  const forget = useAction(() => host.call("forget"));
  const insert = (cells: Parameters<NotebookCells["insert"]>[0]): void => {
    if (root.current) notebook?.insert(cells, root.current);
  };
  const exporting = useExporting(host, insert);
  const codeActions = useMemo(() => [inserting(host, notebook, root)], [host, notebook]);
  const isRunning = useComputed(() => Boolean(host.slice("running").value));
  const write = (prompt: string): void => {
    draft.text.value = prompt;
    input.current?.focus();
  };
  const drop = useDrop((files) => attach(draft, files));
  return (
    <section
      ref={root}
      class={isRunning.value ? "farm-chat farm-chat-busy" : "farm-chat"}
      aria-label="Chat"
      data-jp-suppress-context-menu
      {...drop.handlers}
      onKeyDown={(event) => {
        if (event.key === "Escape" && isRunning.peek()) stop.run();
      }}
    >
      <Header host={host} takesCells={notebook !== null} onExport={exporting.run} onForget={forget.run} />
      <div class="farm-chat-notes">
        <BusyNote host={host} />
        <BackgroundError host={host} />
        <ErrorNote
          problem={exporting.problem.value ?? forget.problem.value ?? stop.problem.value}
          onDismiss={() => (exporting.problem.value = forget.problem.value = stop.problem.value = null)}
        />
        <div role="status">
          {host.slice("doubt").value && <div class="farm-note">{host.slice("doubt").value}</div>}
          {exporting.outcome.value && (
            <div class="farm-chat-outcome">
              {exporting.outcome.value}
              <IconButton name="close" label="Dismiss" onClick={() => (exporting.outcome.value = "")} />
            </div>
          )}
        </div>
      </div>
      <div class="farm-chat-middle">
        <div class="farm-scroller farm-transcript" ref={follow.scroller} role="log" aria-live="off" aria-label="Conversation" tabIndex={0}>
          <div class="farm-transcript-content" ref={follow.content}>
            <Transcript host={host} codeActions={codeActions} onExample={write} />
          </div>
        </div>
        <JumpToEnd follow={follow} />
        {drop.isOver.value && <div class="farm-drop">Drop pictures to ask about them</div>}
      </div>
      <Composer host={host} draft={draft} input={input} onSent={follow.jumpToEnd} onStop={stop.run} />
      <Announcer isBusy={isRunning} message={ended(host)} />
    </section>
  );
}

/** What a cell of a Python notebook takes; "" is code whose language the model did not say. */
const OF_A_CELL = new Set(["", "python", "python3", "py", "ipython", "ipython3"]);
const isForCell: NonNullable<CodeAction["isFor"]> = ({ language }) => OF_A_CELL.has(language);

/** Code goes into a cell at once where the page can do that, else below the next cell that is run. */
function inserting(host: ChatHost, notebook: NotebookCells | null, root: RefObject<HTMLElement | null>): CodeAction {
  if (notebook) {
    return {
      label: "Insert as new cell",
      title: "Put this code into a new cell below; it is not run",
      done: "Inserted below",
      isFor: isForCell,
      run: ({ text }) => {
        if (root.current) notebook.insert([{ cell_type: "code", source: text }], root.current);
      },
    };
  }
  return {
    label: "Put into next cell",
    title: "This page cannot insert cells. The code will appear below the next cell that you run.",
    done: "Comes below the next cell you run",
    isFor: isForCell,
    run: ({ text }) => host.call("insert", { code: text }),
  };
}

/** Files that are dragged over the panel and dropped on it. */
function useDrop(take: (files: File[]) => unknown) {
  const isOver = useSignal(false);
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  const over = (event: DragEvent): void => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    isOver.value = true;
  };
  const handlers = {
    onDragEnter: over,
    onDragOver: over,
    onDragLeave: (event: DragEvent & { currentTarget: HTMLElement }) => {
      if (!event.currentTarget.contains(event.relatedTarget as Node | null)) isOver.value = false;
    },
    onDrop: (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      isOver.value = false;
      take([...(event.dataTransfer?.files ?? [])]);
    },
  };
  return { isOver, handlers };
}

function ended(host: ChatHost): string {
  const attempt = host.slice("attempt").value;
  if (!attempt) return "The answer is finished.";
  return attempt.problem ? `There is no answer. ${attempt.problem.title}.` : "Stopped.";
}
