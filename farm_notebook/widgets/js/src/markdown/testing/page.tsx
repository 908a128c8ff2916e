/** A page with nothing but answers, for the tests in a real browser: `tests/browser/test_markdown_rendering.py`. */

import "../../base/base.css";
import "../markdown.css";
import { signal, type ReadonlySignal } from "@preact/signals";
import { render } from "preact";
import { Announcer, Answer, JumpToEnd, Reasoning, useFollow, type Follow } from "..";

/** What is found in an answer and must not be there. */
interface Finding {
  payload: number;
  what: string;
}

const ELEMENTS = new Set(
  (
    "a b bdi blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre s small span " +
    "strong sub summary sup table tbody td th thead tr u ul details " +
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt " +
    "mstyle msub msubsup msup mtable mtd mtext mtr munder munderover"
  ).split(" "),
);

const ATTRIBUTES =
  /^(?:class|href|target|rel|title|data-place|type|disabled|aria-[a-z]+|role|tabindex|scope|start|alt|src|loading|decoding|referrerpolicy|open)$/;

const root = document.body.appendChild(document.createElement("div"));
let follow: Follow | undefined;

/** Show all payloads, each in an answer of its own, in pieces of `size` characters (0: whole). */
async function showPayloads(payloads: string[], size: number): Promise<Finding[]> {
  const texts = payloads.map((each) => signal(size ? "" : each));
  const isStreaming = signal(size > 0);
  const findings = new Map<string, Finding>();
  render(
    <div class="farm-panel">
      {texts.map((text, index) => (
        <div key={index} data-payload={index}>
          <Answer text={text} isStreaming={isStreaming} />
          {size ? null : <Reasoning text={text} />}
        </div>
      ))}
    </div>,
    root,
  );
  const longest = Math.max(...payloads.map((each) => each.length));
  for (let end = size; size && end < longest + size; end += size) {
    texts.forEach((text, index) => (text.value = payloads[index]?.slice(0, end) ?? ""));
    await drawn();
    if (end % (8 * size) === 0) look(findings);
  }
  isStreaming.value = false;
  for (let count = 0; count < 5; count += 1) {
    await drawn();
    look(findings);
  }
  for (const details of root.querySelectorAll("details")) details.open = true;
  for (let count = 0; count < 5; count += 1) await drawn();
  touchAll();
  await new Promise((resolve) => setTimeout(resolve, 100));
  look(findings);
  render(null, root);
  return [...findings.values()];
}

/** Elements and attributes that an answer is not made of. */
function look(findings: Map<string, Finding>): void {
  for (const holder of root.querySelectorAll<HTMLElement>("[data-payload]")) {
    const payload = Number(holder.dataset["payload"]);
    const tell = (what: string): void => void findings.set(`${payload} ${what}`, { payload, what });
    for (const element of holder.querySelectorAll("*")) {
      const name = element.localName;
      if (!ELEMENTS.has(name)) tell(`<${name}>`);
      for (const { name: attribute, value } of element.attributes) {
        const isOfFormula = element.namespaceURI?.endsWith("MathML") && !/^(?:on|xlink|href|src|id|name)/.test(attribute);
        const isHeight = attribute === "style" && element.className === "farm-rest";
        if (!ATTRIBUTES.test(attribute) && !isOfFormula && !isHeight) tell(`${name} ${attribute}="${value}"`);
        if (/url\(|position|expression|@import/i.test(attribute === "style" ? value : "")) tell(`style="${value}"`);
      }
      const link = element.getAttribute("href");
      if (link !== null && !/^(?:https?:\/\/|mailto:)/.test(link)) tell(`href="${link}"`);
      const source = element.getAttribute("src");
      if (source !== null && !/^data:image\/(?:png|gif|jpeg|webp);base64,/.test(source)) tell(`src="${source}"`);
    }
  }
}

/** What a reader's pointer and keyboard would set off. */
function touchAll(): void {
  for (const element of root.querySelectorAll("*")) {
    for (const name of ["mouseover", "mouseenter", "focus", "focusin", "toggle", "animationstart", "load", "error"]) {
      element.dispatchEvent(new Event(name, { bubbles: name === "mouseover" }));
    }
  }
}

/** Stream a text in so many pieces, a few at a time; the milliseconds for which the page was busy at a stretch. */
async function stream(text: string, pieces: number, atOnce: number): Promise<number[]> {
  const shown = signal("");
  const isStreaming = signal(true);
  render(<Scrolling texts={[shown]} isStreaming={isStreaming} />, root);
  await drawn();
  const { stretches, end } = watchStretches();
  for (let piece = 1; piece <= pieces; piece += 1) {
    shown.value = text.slice(0, Math.ceil((text.length * piece) / pieces));
    if (piece % atOnce === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  isStreaming.value = false;
  await settled();
  end();
  return stretches;
}

/** Show finished answers; the milliseconds for which the page was busy at a stretch. */
async function show(texts: string[], height = 600): Promise<number[]> {
  render(null, root);
  const { stretches, end } = watchStretches();
  render(<Scrolling texts={texts.map((each) => signal(each))} isStreaming={signal(false)} height={height} />, root);
  await settled();
  end();
  return stretches;
}

/** Scroll up from the end, so many pixels a frame; the milliseconds from frame to frame. */
async function scroll(frames: number, pixels: number): Promise<number[]> {
  const scroller = root.querySelector(".farm-scroller") as HTMLElement;
  const intervals: number[] = [];
  let before = await frame();
  for (let count = 0; count < frames; count += 1) {
    scroller.scrollTop -= pixels;
    const now = await frame();
    intervals.push(now - before);
    before = now;
  }
  return intervals;
}

/** Until nothing scrolls any more: browsers do it smoothly, and go on after a finger has left. */
async function still(): Promise<void> {
  const scroller = root.querySelector(".farm-scroller") as HTMLElement;
  for (let same = 0, before = -1; same < 15; before = scroller.scrollTop) {
    await frame();
    same = scroller.scrollTop === before ? same + 1 : 0;
  }
}

const growing = [signal(""), signal("")];

/** Two messages, of which both can grow. */
async function begin(first: string, second: string): Promise<void> {
  render(null, root);
  [first, second].forEach((text, index) => (growing[index]!.value = text));
  render(<Scrolling texts={growing} isStreaming={signal(true)} />, root);
  await settled();
}

async function grow(index: number, text: string): Promise<void> {
  growing[index]!.value += text;
  await settled();
}

interface ScrollingProps {
  texts: ReadonlySignal<string>[];
  isStreaming: ReadonlySignal<boolean>;
  height?: number;
}

function Scrolling({ texts, isStreaming, height = 600 }: ScrollingProps) {
  follow = useFollow();
  return (
    <div class="farm-panel">
      <div class="farm-scroller" ref={follow.scroller} style={{ height: `${height}px` }} tabIndex={0}>
        <div ref={follow.content}>
          {texts.map((text, index) => (
            <Answer key={index} text={text} isStreaming={isStreaming} />
          ))}
        </div>
      </div>
      <JumpToEnd follow={follow} />
      <Announcer isBusy={isStreaming} message="Finished." />
    </div>
  );
}

function watchStretches(): { stretches: number[]; end: () => void } {
  const stretches: number[] = [];
  const { port1, port2 } = new MessageChannel();
  let before = performance.now();
  port1.onmessage = () => {
    const now = performance.now();
    stretches.push(now - before);
    before = now;
    setTimeout(() => {
      before = performance.now();
      port2.postMessage(null);
    }, 1);
  };
  port2.postMessage(null);
  return { stretches, end: () => port1.close() };
}

async function settled(): Promise<void> {
  do await frame();
  while (root.querySelector(".farm-rest"));
  for (let count = 0; count < 10; count += 1) await frame();
}

function frame(): Promise<number> {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

/** After what was due has been drawn; tests replace frames by something faster. */
async function drawn(): Promise<void> {
  await frame();
  await frame();
}

/** Frames at once, and all code near: what is tested is what becomes of a text, not when. */
function hurry(): void {
  const { port1, port2 } = new MessageChannel();
  const waiting: FrameRequestCallback[] = [];
  port1.onmessage = () => waiting.shift()?.(performance.now());
  window.requestAnimationFrame = (run) => {
    waiting.push(run);
    port2.postMessage(null);
    return 0;
  };
  window.cancelAnimationFrame = () => {};
  Reflect.deleteProperty(window, "IntersectionObserver");
}

Object.assign(window, {
  answers: { showPayloads, stream, show, scroll, begin, grow, still, hurry, isAtEnd: () => follow?.isAtEnd.value },
});
