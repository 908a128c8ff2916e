/** Exports: what is asked of the kernel, and what this page does with what it tells. */

import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { uniqueId, type Problem } from "../base";
import { asProblem } from "../base/action";
import { copyText } from "../markdown";
import type { ExportKind } from "./more";
import type { Cell } from "./notebook";
import type { ChatHost } from "./state";

interface Exported {
  by: string;
  kind: ExportKind;
  cells?: string[];
  text?: string;
  path?: string;
}

export interface Exporting {
  run: (kind: ExportKind) => void;
  /** What came of the last one. */
  outcome: Signal<string>;
  problem: Signal<Problem | null>;
}

/** Every view hears of every export; only the one that asked acts on it. */
export function useExporting(host: ChatHost, insert: (cells: readonly Cell[]) => void): Exporting {
  const by = useMemo(uniqueId, []);
  const outcome = useSignal("");
  const problem = useSignal<Problem | null>(null);
  const act = async ({ cells = [], text = "", path = "", kind }: Exported): Promise<string> => {
    if (kind === "notebook") return `Saved as ${path}`;
    if (kind === "markdown") {
      await copyText(text);
      return "The conversation is on the clipboard as Markdown.";
    }
    insert(cells.map((source) => ({ cell_type: "markdown", source })));
    return `${cells.length} Markdown cells were added below.`;
  };
  const fail = (error: unknown): void => void (problem.value = asProblem(error));
  useEffect(
    () =>
      host.on<Exported>("exported", (told) => {
        if (told.by === by) act(told).then((said) => (outcome.value = said), fail);
      }),
    [],
  );
  const run = (kind: ExportKind): void => {
    outcome.value = "";
    problem.value = null;
    host.call("export", { kind, by }).catch(fail);
  };
  return { run, outcome, problem };
}
