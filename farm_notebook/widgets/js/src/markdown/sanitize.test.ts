import { describe, expect, it } from "vitest";
import { cleanCode, cleanFormula } from "./sanitize";

function markup(fragment: DocumentFragment): string {
  const holder = document.createElement("div");
  holder.append(fragment);
  return holder.innerHTML;
}

describe("cleanFormula", () => {
  it("keeps what formulas are made of", () => {
    const formula = '<math display="block" class="tml-display"><mfrac><mi>a</mi><mn>2</mn></mfrac></math>';
    expect(markup(cleanFormula(formula))).toBe(formula);
  });

  it("keeps only what of a style stays in its place", () => {
    const style = "padding:0 1em;position:fixed;color:#ff0000;background:url(x);border:1px solid;width:expression(1)";
    expect(markup(cleanFormula(`<math><mi style="${style}">a</mi></math>`))).toBe(
      '<math><mi style="padding:0 1em;color:#ff0000;border:1px solid;">a</mi></math>',
    );
  });

  it.each([
    '<math href="javascript:x"><mi>a</mi></math>',
    '<math id="x" name="y" onclick="z" data-a="b"><mi>a</mi></math>',
    '<math class="farm-panel jp-Notebook"><mi>a</mi></math>',
    '<math><mi>a</mi></math><img src=x onerror=x><script>x</script>',
    '<math><maction actiontype="x"><mi>a</mi></maction></math>',
    '<math><mi>a</mi><annotation-xml encoding="text/html"></annotation-xml></math>',
  ])("takes out of %s what leads elsewhere", (dirty) => {
    expect(markup(cleanFormula(dirty)).replace(/\s/g, "")).toBe("<math><mi>a</mi></math>");
  });
});

describe("cleanCode", () => {
  it("keeps spans with classes of ours", () => {
    const code = '<span class="farm-code-title function_">f</span>(&lt;b&gt;)';
    expect(markup(cleanCode(code))).toBe(code);
  });

  it("keeps of anything else its text", () => {
    expect(markup(cleanCode('<a href="x">t</a><span class="jp-Cell x" style="y" onclick="z">u</span>'))).toBe("t<span>u</span>");
  });
});
