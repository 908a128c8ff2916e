/** Shows what a model wrote as Markdown: while it streams and when it is finished. Model output is not trusted.
 *
 *     import "../markdown/markdown.css";                     // in the entry
 *     import { Announcer, Answer, JumpToEnd, Reasoning, useFollow, type CodeAction } from "../markdown";
 *
 *     <Answer text={text} isStreaming={isStreaming} codeActions={actions} />
 *
 * `text` is the whole text so far, a string or a signal of one (`isStreaming` likewise: a boolean or a signal). A text
 * that grows at its end is parsed at most once a frame, and its finished blocks once; any other change begins anew.
 * Give a signal where many pieces a second arrive: then nothing but the answer's last block is rendered again.
 * `headingLevel` (default 4) is the level that `#` gets, so that the page's order of headings stays right.
 *
 *     const actions: CodeAction[] = [{
 *       label: "Insert as new cell",                         // the button's text
 *       title: "Puts this code below the active cell",       // optional
 *       isFor: ({ language }) => language === "python",      // optional: for which blocks it is offered
 *       run: async ({ text, language }) => { … },            // may throw: the button then says that it failed
 *       done: "Inserted",                                    // optional: what the button says for a moment
 *     }];
 *
 * Keep the array the same between renderings. The actions of a block that still streams are disabled.
 *
 *     <Reasoning text={reasoning} isStreaming={!text} />     // folded; drawn only while it is open; nothing if empty
 *     <Announcer isBusy={isStreaming} message="The answer is finished." />   // one for a panel, outside the messages:
 *                                                            // says `message` once whenever `isBusy` has ended
 *
 *     const follow = useFollow();                            // one for a panel
 *     <div class="farm-scroller" ref={follow.scroller}>      // the element that scrolls …
 *       <div ref={follow.content}>…messages…</div>           // … and the one in it that grows
 *     </div>
 *     <JumpToEnd follow={follow} />                          // a button while the reader is not at the end
 *     follow.isAtEnd.value; follow.jumpToEnd();              // e.g. when the user has sent a message
 *
 * `copyText(text)` puts text on the clipboard, also on pages that came over plain HTTP.
 */

export { Announcer, type AnnouncerProps } from "./announcer";
export { Answer, type AnswerProps } from "./answer";
export { copyText } from "./clipboard";
export type { Code, CodeAction } from "./code_actions";
export { JumpToEnd, useFollow, type Follow } from "./follow_hook";
export { Follower } from "./follow";
export { Reasoning, type ReasoningProps } from "./reasoning";
