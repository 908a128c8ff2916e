import { afterEach, expect, it, vi } from "vitest";
import { copyText } from "./clipboard";

afterEach(() => {
  vi.unstubAllGlobals();
  Reflect.deleteProperty(document, "execCommand");
});

it("uses the browser's clipboard", async () => {
  const writeText = vi.fn(() => Promise.resolve());
  vi.stubGlobal("navigator", { clipboard: { writeText } });
  await copyText("a\nb");
  expect(writeText).toHaveBeenCalledExactlyOnceWith("a\nb");
});

it("copies by a selection where there is none, and gives the focus back", async () => {
  vi.stubGlobal("navigator", {});
  const button = document.body.appendChild(document.createElement("button"));
  button.focus();
  let copied = "";
  document.execCommand = () => {
    copied = document.querySelector("textarea")?.value ?? "";
    return true;
  };
  await copyText("a\nb");
  expect(copied).toBe("a\nb");
  expect(document.querySelector("textarea")).toBeNull();
  expect(document.activeElement).toBe(button);
});

it("says that the browser does not allow it", async () => {
  vi.stubGlobal("navigator", { clipboard: { writeText: () => Promise.reject(new Error("denied")) } });
  document.execCommand = () => false;
  await expect(copyText("x")).rejects.toThrow("does not allow it");
});
