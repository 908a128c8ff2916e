/** Character references such as `&amp;` in Markdown. */

const REFERENCE = /&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});/g;
const known = new Map<string, string>();

/** The text with its references replaced by the characters that they stand for. */
export function withReferences(text: string): string {
  return text.includes("&") ? text.replace(REFERENCE, character) : text;
}

/** The browser knows them all. Nothing but a reference is given to it, and to an element that holds only text. */
function character(reference: string): string {
  let found = known.get(reference);
  if (found === undefined) {
    const area = document.createElement("textarea");
    area.innerHTML = reference;
    found = area.value;
    if (known.size < 1_000) known.set(reference, found);
  }
  return found;
}
