import { describe, expect, it } from "vitest";
import { isMisleading, isPictureData, linkTarget, pictureTarget, seen } from "./addresses";

describe("linkTarget", () => {
  it.each([
    ["https://example.com/a?b#c", "https://example.com/a?b#c", "example.com"],
    ["HTTP://EXAMPLE.com:8080", "http://example.com:8080/", "example.com:8080"],
    ["https://good.org@evil.org/", "https://evil.org/", "evil.org"],
    ["https://\u0430pple.com", "https://xn--pple-43d.com/", "xn--pple-43d.com"],
    ["mailto:a@example.com?subject=x", "mailto:a@example.com?subject=x", "a@example.com"],
  ])("follows %s", (address, href, place) => {
    expect(linkTarget(address)).toEqual({ href, place });
  });

  it.each([
    "javascript:x", "JAVASCRIPT:x", " javascript:x", "java\tscript:x", "\u0001javascript:x", "vbscript:x", "data:text/html,x",
    "blob:https://example.com/1", "file:///etc/passwd", "//example.com", "/lab", "#top", "", "https:", "https:example.com",
    "command:x", "ftp://example.com", "https://", "http:\\\\example.com", " https://example.com",
  ])("does not follow %j", (address) => {
    expect(linkTarget(address)).toBeUndefined();
  });
});

describe("isMisleading", () => {
  it.each([
    ["https://good.org/x", "https://evil.org", true],
    ["good.org", "https://evil.org", true],
    ["go\u200bod.org", "https://evil.org", true],
    ["good\u3002org", "https://evil.org", true],
    ["http://user@good.org", "https://evil.org", true],
    ["see good.org", "https://evil.org", false], // does not claim to be the address
    ["https://good.org/x", "https://good.org/y", false],
    ["www.good.org", "https://good.org", false],
    ["a@good.org", "mailto:a@good.org", false],
    ["the docs", "https://evil.org", false],
  ])("%s for %s: %s", (label, address, expected) => {
    expect(isMisleading(label, linkTarget(address)!)).toBe(expected);
  });
});

describe("pictures", () => {
  it("may be in the text if they are pixels", () => {
    expect(isPictureData("data:image/png;base64,AAAA")).toBe(true);
    expect(isPictureData("data:image/JPEG;base64,AAAA==")).toBe(true);
    for (const other of ["image/svg+xml;base64,AAAA", "image/png,AAAA", "text/html;base64,AAAA", 'image/png;base64,A"'])
      expect(isPictureData(`data:${other}`)).toBe(false);
  });

  it("are loaded from the web only", () => {
    expect(pictureTarget("https://example.com/a.png")?.place).toBe("example.com");
    expect(pictureTarget("mailto:a@example.com")).toBeUndefined();
  });
});

it("leaves out what is not seen", () => {
  expect(seen("a\u200b\u202eb\u00adc\u0007\u200dd")).toBe("abcd");
  expect(seen("👩\u200d💻")).toBe("👩\u200d💻");
});
