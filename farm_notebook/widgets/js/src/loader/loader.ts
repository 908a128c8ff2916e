/** Stands in a widget's state for the panel's script, which is hundreds of kB, and has the kernel send that.
 *
 * Notebooks that are executed without a page are saved with their widgets' state. `panel.py` describes the messages.
 */

import type { AnyModel, AnyWidget, InitializeProps } from "@anywidget/types";

type Definition = Awaited<ReturnType<Extract<AnyWidget, () => unknown>>>;
type Import = (script: string) => Promise<{ default: () => Definition }>;

/** When the kernel is asked again that has not answered; each time it is waited for twice as long. */
export const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 15_000;

/** Scripts that were loaded in this page, by their ids; shared by all widgets, each of which has a loader of its own. */
const SHARED = Symbol.for("farm-notebook-scripts");

/** A widget that is drawn by the script that the kernel sends.
 *
 * It is asked for by the first view: until `initialize` has ended, anywidget holds all messages back.
 */
export function loader(importScript: Import = importBlob): AnyWidget {
  return () => {
    let begun: InitializeProps | undefined; // one a widget; anywidget calls this function once for each
    let loading: Promise<Definition> | undefined;
    return {
      initialize: (context) => void (begun = context),
      render: async (context) => {
        loading ??= definitionOf(begun ?? context, importScript);
        return (await loading).render?.(context);
      },
    };
  };
}

async function definitionOf(context: InitializeProps, importScript: Import): Promise<Definition> {
  const shared = scripts();
  const id = String(context.model.get("script_id"));
  if (!shared.has(id)) shared.set(id, await importScript(await scriptOf(context.model)));
  const module = shared.get(id);
  if (!module) throw new Error(`the script ${id} was lost`);
  const definition = module.default();
  const end = await definition.initialize?.(context);
  if (typeof end === "function") context.signal.addEventListener("abort", () => void end());
  return definition;
}

/** Ask the kernel until it answers. A kernel that is gone never does: the static output is all there is then. */
function scriptOf(model: AnyModel): Promise<string> {
  return new Promise((resolve) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = FIRST_RETRY_MS;
    const ask = (): void => {
      model.send({ wants: "script" });
      timer = setTimeout(ask, wait);
      wait = Math.min(2 * wait, LONGEST_RETRY_MS);
    };
    const end = (): void => {
      clearTimeout(timer);
      model.off("msg:custom", take);
      model.off("destroy", end);
    };
    const take = ({ script }: { script?: string }): void => {
      if (script === undefined) return;
      end();
      resolve(script);
    };
    model.on("msg:custom", take);
    model.on("destroy", end);
    ask();
  });
}

function scripts(): Map<string, Awaited<ReturnType<Import>>> {
  const page = globalThis as { [SHARED]?: Map<string, Awaited<ReturnType<Import>>> };
  return (page[SHARED] ??= new Map());
}

async function importBlob(script: string): ReturnType<Import> {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    return (await import(/* @vite-ignore */ url)) as Awaited<ReturnType<Import>>;
  } finally {
    URL.revokeObjectURL(url);
  }
}
