"""One model of a comparison while it streams: the end of its answer, and one line on how far it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from farm_notebook.pipeline.estimate import BYTES_A_TOKEN
from farm_notebook.progress import Progress
from farm_notebook.types import Event, ReasoningDelta, TextDelta

if TYPE_CHECKING:
    from farm_notebook.farm.contender import Contender

__all__ = ["Lane", "Tail"]

STEADY_S = 0.5  # of streaming, until a speed is worth showing

_FENCE = re.compile(r"[ ]{0,3}(`{3,}(?!.*`)|~{3,})(.*)")


class Tail:
    """The end of a Markdown text that grows: short enough to be painted again and again.

    It is cut seldom and then by half, so that what is on the screen mostly stays where it is.

    Args:
        longest: Characters.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._text = ""
        self._start = ""  # what stands for all that was cut off
        self._fence = ""  # the opening of the code block that the text begins in

    def add(self, text: str) -> None:
        """Take the next piece."""
        self._text += text
        if len(self._text) > self._longest:
            self._cut()

    @property
    def is_cut(self) -> bool:
        """Whether the text has a beginning that is not shown."""
        return bool(self._start)

    def __str__(self) -> str:
        return self._start + self._text

    def _cut(self) -> None:
        end = self._end_of_cut()
        for line in self._text[:end].splitlines():
            self._follow_fence(line)
        is_inside_line = not self._text[:end].endswith("\n")
        self._text = self._text[end:]
        self._start = f"{self._fence}\n…" if self._fence else "…"
        self._start += " " if is_inside_line else "\n" if self._fence else "\n\n"

    def _end_of_cut(self) -> int:
        """After a line, else after a word, else anywhere; what is left is about half of the longest."""
        least = len(self._text) - self._longest // 2
        most = least + self._longest // 4
        for mark in ("\n", " "):
            if found := self._text.find(mark, least, most) + 1:
                return found
        return least

    def _follow_fence(self, line: str) -> None:
        mark = _FENCE.match(line)
        if mark is None:
            return
        opened = _FENCE.match(self._fence)
        if opened is None:
            self._fence = line if len(line) <= self._longest // 4 else mark[1]
        elif mark[1].startswith(opened[1]) and not mark[2].strip():
            self._fence = ""


class Lane:
    """What is shown of one model while it answers.

    Args:
        contender: The model.
        longest: Characters of its answer that are shown.
    """

    def __init__(self, contender: Contender, *, longest: int) -> None:
        self.contender = contender
        self._tail = Tail(longest)
        self._progress = Progress()
        self._size_bytes = 0
        self._is_thinking = False
        self.is_whole_below = False  # once it has ended, and is shown whole elsewhere

    @property
    def text(self) -> str:
        """The end of the answer, as Markdown."""
        return "" if self.is_whole_below else str(self._tail)

    @property
    def is_cut(self) -> bool:
        """Whether that is not all of it."""
        return self._tail.is_cut

    @property
    def note(self) -> str:
        """How far it is: what is waited for, or how fast it answers, or how it ended."""
        contender = self.contender
        if (outcome := contender.outcome) is not None:
            ending = outcome.status.partition(",")[0]
            told = "" if ending in outcome.facts else ending
            return " · ".join(filter(None, (told, outcome.facts)))
        if not contender.is_asked:
            return "waits for its turn"
        if contender.first_token_s is None:
            return self._progress.note or "…"
        facts = [f"first token {contender.first_token_s:.2f} s"]
        if contender.streaming_s >= STEADY_S:
            facts.append(f"≈ {self._size_bytes / BYTES_A_TOKEN / contender.streaming_s:.0f} tokens/s")
        return " · ".join(["thinking …"] * self._is_thinking + facts)

    @property
    def remark(self) -> str:
        """What is to be said below the text, once it has ended."""
        if self.is_whole_below:
            return "The whole answer stands below."
        return self.contender.outcome.remark if self.contender.outcome else ""

    def add(self, event: Event | None) -> bool:
        """Take the next event; whether what is shown may have changed."""
        match event:
            case TextDelta(text):
                self._tail.add(text)
                self._size_bytes += len(text.encode(errors="surrogatepass"))
                self._is_thinking = False
            case ReasoningDelta(text):
                self._size_bytes += len(text.encode(errors="surrogatepass"))
                self._is_thinking = True
            case None:
                return True
            case _:
                return self._progress.add(event)
        return True
