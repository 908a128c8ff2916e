/** Which addresses in an answer may be followed or loaded, and where they really lead. */

export interface Target {
  /** The whole address, as the browser understands it. */
  href: string;
  /** Where it leads: a host, with foreign letters spelt out, or who gets the mail. */
  place: string;
}

/** Characters that are not seen, or that turn the order of others around; but for what joins emoji. */
const UNSEEN = /(?!(?<=\p{Extended_Pictographic}\ufe0f?)\u200d)[\p{Cf}\p{Cc}\u115f\u1160\u3164\uffa0]/gu;
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif|bmp);base64,[A-Za-z0-9+/]+={0,2}$/i;
const PICTURE_CHARS = 12_000_000;
const LOOKS_LIKE_HOST = /^(?:[a-z]+:\/*)?(?:[^@/\s]*@)?((?:[\p{L}\p{N}_-]+[.。．｡])+[\p{L}\p{N}-]{2,})(?=[:/?#\s.,)]|$)/iu;

/** Where a link leads; `undefined` if it is none that a click may follow. */
export function linkTarget(address: string): Target | undefined {
  if (!/^(?:https?:\/\/|mailto:)/i.test(address)) return undefined;
  const url = parsed(address);
  if (url?.protocol === "mailto:") return { href: url.href, place: decoded(url.pathname) };
  if (!url?.hostname || !/^https?:$/.test(url.protocol)) return undefined;
  url.username = url.password = ""; // what stands before the @ only looks like a host
  return { href: url.href, place: url.host };
}

/** A picture that is in the text itself, of a kind that can contain nothing but pixels. */
export function isPictureData(address: string): boolean {
  return address.length <= PICTURE_CHARS && PICTURE.test(address);
}

/** Where a picture would be loaded from; `undefined` if from nowhere. */
export function pictureTarget(address: string): Target | undefined {
  const target = linkTarget(address);
  return target?.href.startsWith("http") ? target : undefined;
}

/** The text of a link without what is not seen. */
export function seen(text: string): string {
  return text.replace(UNSEEN, "");
}

/** Whether the text of a link names another place than the link leads to. */
export function isMisleading(label: string, target: Target): boolean {
  const host = LOOKS_LIKE_HOST.exec(seen(label).trim())?.[1];
  if (!host) return false;
  const named = parsed(`http://${host}`)?.hostname;
  return named === undefined || bare(named) !== bare(target.place.replace(/^.*@|:\d+$/g, ""));
}

/** Characters in code that would show it in another order than it is run in. */
export const REORDERING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** One of them in letters. */
export function spelt(character: string): string {
  return `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

function bare(host: string): string {
  return host.replace(/^www\./, "");
}

function decoded(text: string): string {
  try {
    return seen(decodeURIComponent(text));
  } catch {
    return text;
  }
}

function parsed(address: string): URL | undefined {
  try {
    return new URL(address);
  } catch {
    return undefined;
  }
}
