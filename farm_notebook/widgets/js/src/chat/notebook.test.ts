import { afterEach, expect, test } from "vitest";
import { notebookOf } from "./notebook";

function shared(...sources: string[]) {
  let count = 0;
  const cells = sources.map((source) => ({ id: `old-${source}`, source }));
  return {
    cells,
    insertCell: (index: number, cell: { source: string }) => {
      const made = { id: `new-${++count}`, source: cell.source };
      cells.splice(index, 0, made);
      return made;
    },
  };
}

const managerOf = (sharedModel: unknown) => ({ context: { model: { sharedModel } } });
const code = (source: string) => ({ cell_type: "code" as const, source });

function page(own: number): Element {
  document.body.innerHTML = `<div class="jp-Notebook">${[0, 1, 2]
    .map((index) => `<div class="jp-Cell" data-windowed-list-index="${index}"><i id="in-${index}"></i></div>`)
    .join("")}</div>`;
  return document.querySelector(`#in-${own}`) as Element;
}

afterEach(() => document.body.replaceChildren());

test("cells go below the panel's cell, the next ones below them", () => {
  const notebook = shared("a", "panel", "z");
  const cells = notebookOf(managerOf(notebook));
  cells?.insert([code("1"), code("2")], page(1));
  cells?.insert([code("3")], page(1));
  expect(notebook.cells.map(({ source }) => source)).toEqual(["a", "panel", "1", "2", "3", "z"]);
});

test("where the last one was deleted, they go below the panel's cell again", () => {
  const notebook = shared("panel", "z");
  const cells = notebookOf(managerOf(notebook));
  cells?.insert([code("1")], page(0));
  notebook.cells.splice(1, 1);
  cells?.insert([code("2")], page(0));
  expect(notebook.cells.map(({ source }) => source)).toEqual(["panel", "2", "z"]);
});

test("a panel outside of the notebook puts them at its end", () => {
  const notebook = shared("a", "b");
  notebookOf(managerOf(notebook))?.insert([code("1")], document.body);
  expect(notebook.cells.at(-1)?.source).toBe("1");
});

test("the same notebook is remembered", () => {
  const manager = managerOf(shared("a"));
  expect(notebookOf(manager)).toBe(notebookOf(manager));
});

test.each([undefined, null, {}, { context: {} }, managerOf({}), managerOf({ cells: 3, insertCell: () => undefined })])(
  "a front end without such a notebook has none: %j",
  (manager) => expect(notebookOf(manager)).toBeNull(),
);
