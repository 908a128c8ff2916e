/** The last gate for markup that libraries make of a model's text: formulas as MathML, and code in colours.
 *
 * Everything else that an answer shows is made of elements by us, and never was HTML.
 */

import DOMPurify, { type Config } from "dompurify";

const MATHML = [
  ..."math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle merror mpadded mphantom menclose".split(" "),
  ..."msub msup msubsup munder mover munderover mmultiscripts mprescripts mtable mtr mtd".split(" "),
];

const MATHML_ATTRIBUTES = [
  ..."accent accentunder columnalign columnlines columnspacing columnspan depth display displaystyle fence".split(" "),
  ..."form height largeop linebreak linethickness lspace mathbackground mathcolor mathvariant maxsize minsize".split(" "),
  ..."movablelimits notation rowlines rowspacing rowspan rspace scriptlevel separator stretchy symmetric".split(" "),
  ..."voffset width style class".split(" "),
];

/** What formulas need of CSS; none of it can take them out of their place. */
const STYLE = /^(?:text-align|math-(?:style|depth|shift)|font-(?:size|weight|style|family)|padding(?:-\w+)?|border(?:-\w+)*|color|background-color|width|height|min-width|vertical-align|white-space)$/;
const STYLE_VALUE = /^[-\w.%# ]{1,60}$/;

const FORMULA: Config = {
  ALLOWED_TAGS: MATHML,
  ALLOWED_ATTR: MATHML_ATTRIBUTES,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  KEEP_CONTENT: true,
  RETURN_DOM_FRAGMENT: true,
};

const CODE: Config = {
  ALLOWED_TAGS: ["span"],
  ALLOWED_ATTR: ["class"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  KEEP_CONTENT: true,
  RETURN_DOM_FRAGMENT: true,
};

/** Of the formulas' library, and of our highlighting. */
const CLASS = /^(?:(?:tml|chr|farm-code)-[\w-]+|upstrike|downstrike|sout|[a-z]+_{1,2})$/;

/** Ours alone: hooks of a shared one would be everybody's. */
const purify = DOMPurify(window);

purify.addHook("uponSanitizeAttribute", (_element, attribute) => {
  if (attribute.attrName === "class") attribute.attrValue = classes(attribute.attrValue);
  if (attribute.attrName === "style") attribute.attrValue = styles(attribute.attrValue);
  if (!attribute.attrValue) attribute.keepAttr = false;
});

/** MathML without anything that leads elsewhere. */
export function cleanFormula(markup: string): DocumentFragment {
  return purify.sanitize(markup, FORMULA) as unknown as DocumentFragment;
}

/** Text in spans with classes of ours. */
export function cleanCode(markup: string): DocumentFragment {
  return purify.sanitize(markup, CODE) as unknown as DocumentFragment;
}

function classes(value: string): string {
  return value
    .split(/\s+/)
    .filter((each) => CLASS.test(each))
    .join(" ");
}

function styles(value: string): string {
  return value
    .split(";")
    .map((each) => each.split(":").map((part) => part.trim()))
    .filter(([name = "", text = "", more]) => more === undefined && STYLE.test(name) && STYLE_VALUE.test(text))
    .map(([name, text]) => `${name}:${text};`)
    .join("");
}
