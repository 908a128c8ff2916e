import { expect, test } from "vitest";
import { readPictures, type Attached } from "./pictures";

const file = (name: string, type: string, size = 3) => new File([new Uint8Array(size)], name, { type });
const waiting = (count: number): Attached[] =>
  Array.from({ length: count }, (_, index) => ({ name: `${index}.png`, data: "AAAA", url: `data:${index}` }));

test("pictures are read whole", async () => {
  const { pictures, problem } = await readPictures([file("a.png", "image/png")]);
  expect(problem).toBe("");
  expect(pictures).toEqual([{ name: "a.png", data: "AAAA", url: "data:image/png;base64,AAAA" }]);
});

test.each([["a.svg", "image/svg+xml"], ["a.pdf", "application/pdf"], ["a.html", "text/html"]])(
  "%s is no picture that models take",
  async (name, type) => {
    const { pictures, problem } = await readPictures([file(name, type), file("b.png", "image/png")]);
    expect(problem).toContain(`${name} is no picture`);
    expect(pictures.map((each) => each.name)).toEqual(["b.png"]);
  },
);

test("one question has eight pictures at most", async () => {
  const { pictures, problem } = await readPictures([file("a.png", "image/png"), file("b.png", "image/png")], waiting(7));
  expect(pictures).toHaveLength(1);
  expect(problem).toContain("At most 8");
});

test("pictures that are too large together are refused", async () => {
  const { pictures, problem } = await readPictures([file("big.png", "image/png", 6_100_000)], waiting(1));
  expect(pictures).toEqual([]);
  expect(problem).toContain("big.png is too large");
});
