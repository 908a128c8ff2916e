/** Puts cells into the notebook that a panel stands in, where the front end lets a page do so.
 *
 * JupyterLab and Notebook 7 have no official way. Their widget manager knows the document it belongs to, whose shared
 * model takes cells; where either is missing, `notebookOf` answers `null`, and the panel offers something else.
 */

export interface Cell {
  cell_type: "code" | "markdown";
  source: string;
}

interface SharedCell {
  id: string;
}

interface SharedNotebook {
  readonly cells: readonly SharedCell[];
  insertCell(index: number, cell: Cell & { metadata: object }): SharedCell;
}

/** The notebook in which cells can be put below a panel. */
export class NotebookCells {
  /** The last cell that was put there: the next one goes below it. */
  #last: string | null = null;

  constructor(private readonly shared: SharedNotebook) {}

  /** Put cells below the cell that `within` stands in, and below those that were put there before. */
  insert(cells: readonly Cell[], within: Element): void {
    let index = this.#after(within);
    for (const cell of cells) this.#last = this.shared.insertCell(index++, { ...cell, metadata: {} }).id;
  }

  #after(within: Element): number {
    const last = this.shared.cells.findIndex((cell) => cell.id === this.#last);
    const own = indexOf(within.closest(".jp-Cell"));
    const found = Math.max(last, own);
    return found < 0 ? this.shared.cells.length : Math.min(found + 1, this.shared.cells.length);
  }
}

/** The notebook of a widget manager, if it has one that takes cells. */
export function notebookOf(manager: unknown): NotebookCells | null {
  const context = (manager as { context?: { model?: { sharedModel?: Partial<SharedNotebook> } } } | null)?.context;
  const shared = context?.model?.sharedModel;
  if (!shared || !Array.isArray(shared.cells) || typeof shared.insertCell !== "function") return null;
  const made = known.get(shared) ?? new NotebookCells(shared as SharedNotebook);
  known.set(shared, made);
  return made;
}

const known = new WeakMap<object, NotebookCells>();

/** Which cell of its notebook an element is. Cells that are far away may not be in the page. */
function indexOf(cell: Element | null): number {
  const told = cell?.getAttribute("data-windowed-list-index");
  if (told) return Number(told);
  const all = cell?.closest(".jp-Notebook")?.querySelectorAll(".jp-Cell");
  return cell && all ? [...all].indexOf(cell) : -1;
}
