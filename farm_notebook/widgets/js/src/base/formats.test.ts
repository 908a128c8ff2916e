import { expect, test } from "vitest";
import { bytes, clockTime, count, dollars, duration, percent, UNKNOWN } from "./formats";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1_000, "1.0 kB"],
  [98_300_000, "98 MB"],
  [1_234_000_000, "1.2 GB"],
  [999_600, "1.0 MB"],
  [9_960_000, "10 MB"],
])("%d bytes are %s", (value, text) => expect(bytes(value)).toBe(text));

test.each([
  [0.0432, "43 ms"],
  [0.9999, "1.0 s"],
  [3.44, "3.4 s"],
  [9.97, "10 s"],
  [59.6, "1 min 0 s"],
  [125, "2 min 5 s"],
  [12_000, "3 h 20 min"],
])("%d seconds are %s", (value, text) => expect(duration(value)).toBe(text));

test.each([
  [0, "$0.00"],
  [1.254, "$1.25"],
  [0.25, "$0.25"],
  [0.0042, "$0.0042"],
  [0.00001234, "$0.000012"],
  [12_000, "$12000.00"],
])("%d dollars are %s", (value, text) => expect(dollars(value)).toBe(text));

test("thousands stand apart", () => expect(count(1_234_567)).toBe("1,234,567"));

test("a share is a percentage", () => expect(percent(0.423)).toBe("42 %"));

test("a moment is a time of day", () => expect(clockTime(1_700_000_000)).toMatch(/^\d\d:\d\d:\d\d$/));

test.each([bytes, duration, count, dollars, percent, clockTime])("what is unknown is no zero: %o", (format) => {
  expect([format(null), format(undefined), format(NaN)]).toEqual([UNKNOWN, UNKNOWN, UNKNOWN]);
});
