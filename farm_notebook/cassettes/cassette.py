"""The calls of one file as one session uses them: given in their order, and added to.

All farms of a process that use a file share one, so that the same call is given its takes in turn, whoever
asks. It belongs to the farm's event loop; the file is read and written in threads.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, count
from typing import Literal, TypeAlias

from farm_notebook.cassettes.asks import Ask, canonical, id_of
from farm_notebook.cassettes.file import CassetteFile
from farm_notebook.cassettes.lines import Line
from farm_notebook.cassettes.scrub import MASK
from farm_notebook.types import Image

__all__ = ["MODES", "Cassette", "Mode"]

Mode: TypeAlias = Literal["auto", "record", "replay"]
MODES: tuple[Mode, ...] = ("auto", "record", "replay")


class Cassette:
    """The recorded calls of one file in one session.

    Args:
        file: Where they are.
        mode: Recording anew replaces what was there of a call before; what another process records at the
            same time stays.
    """

    def __init__(self, file: CassetteFile, mode: Mode) -> None:
        self.file = file
        self.mode = mode
        self.recorded = 0  # calls, in this session
        self.repeated = 0  # calls that were given a recorded one once more
        self._numbers = count()
        self._version: object = self  # which no file has
        self._opening = asyncio.Lock()
        self._known: dict[str, list[Line]] = {}
        self._masked: list[tuple[re.Pattern[str], str]] = []
        self._given: Counter[str] = Counter()
        self._ours: dict[str, list[tuple[int, Line]]] = {}
        self._theirs_go: set[str] = set()  # contents of lines that are replaced when their call is recorded
        self._written: set[str] = set()  # contents of lines that are ours
        self._unsaved: dict[str, None] = {}
        self._pictures: dict[str, Image] = {}
        self._saving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the file; replaying also whenever it has changed.

        Raises:
            CassetteError: It cannot be read or, to record, written.
        """
        async with self._opening:
            is_open = self._version is not self
            if is_open and (self.mode != "replay" or self.file.version == self._version):
                return
            if self.mode != "replay":
                await asyncio.to_thread(self.file.change, lambda lines: lines)  # before anyone is asked
            self._version = self.file.version
            contents = await asyncio.to_thread(self.file.read)
            self._know(contents.lines)

    def take(self, asked: Ask) -> Line | None:
        """The next recorded call that asked this; where all were given the last again, but in ``auto`` none.

        Args:
            asked: Without secrets.
        """
        found = self._find(asked)
        if not found:
            return None
        id_ = found[0].id
        number, self._given[id_] = self._given[id_], self._given[id_] + 1
        if (line := _nth(found, number)) is not None:
            return line
        if self.mode == "auto":
            return None
        self.repeated += 1
        return found[-1]

    def latest(self, asked: Ask) -> Line | None:
        """The recorded call that ``take`` gave last, else the first that asked this; the next take stays.

        Args:
            asked: Without secrets.
        """
        found = self._find(asked)
        if not found:
            return None
        return _nth(found, max(0, self._given[found[0].id] - 1)) or found[-1]

    def number(self) -> int:
        """The number of a call that begins, by which takes are ordered."""
        return next(self._numbers)

    def replace(self, line: Line) -> None:
        """Have a line go when its call is recorded next."""
        self._theirs_go.add(line.content)

    def keep(self, number: int, line: Line, pictures: Iterable[Image] = ()) -> None:
        """Add a call; ``save`` writes it.

        A whole answer takes the place of one that was interrupted before: its user had asked again.

        Args:
            number: When it began.
            line: The call.
            pictures: Images it asks about.
        """
        ours = self._ours.setdefault(line.id, [])
        last = ours[-1][1] if ours and ours[-1][0] < number else None
        if last is not None and last.is_interrupted and not line.is_interrupted:
            del ours[-1]
        if last is not None and _is_again(line, last):
            del ours[-1]
            line = replace(last, times=last.times + 1)
        ours.append((number, line))
        ours.sort(key=lambda each: each[0])
        self._written.add(line.content)
        self._unsaved[line.id] = None
        self._pictures |= {picture.digest: picture for picture in pictures}
        self.recorded += 1

    async def save(self) -> None:
        """Write what was added.

        Raises:
            CassetteError: It cannot be written; it is tried again with the next call.
        """
        while self._unsaved or self._saving is not None:
            saving = self._saving = self._saving or asyncio.create_task(self._save())
            await asyncio.shield(saving)

    def known(self) -> tuple[Line, ...]:
        """The lines that the file held when it was read last."""
        return tuple(line for lines in self._known.values() for line in lines)

    def unasked(self) -> tuple[Line, ...]:
        """The recorded calls that nobody has asked for in this session, nor recorded anew."""
        return tuple(
            line
            for id_, lines in self._known.items()
            for line, begins in zip(lines, _begins(lines), strict=True)
            if begins >= self._given[id_] and (self.mode != "record" or id_ not in self._ours)
        )

    async def drop_unasked(self) -> int:
        """Take the recorded calls that nobody asked for out of the file; how many they were.

        Raises:
            CassetteError: It cannot be written.
        """
        gone = {line.text for line in self.unasked()}
        await self.save()
        await asyncio.to_thread(
            self.file.change, lambda lines: (line for line in lines if line.text not in gone)
        )
        await asyncio.to_thread(self.file.drop_pictures)
        for id_ in self._known:
            self._known[id_] = [line for line in self._known[id_] if line.text not in gone]
        return len(gone)

    def _know(self, lines: Iterable[Line]) -> None:
        self._known = {}
        for line in lines:
            if self.mode == "auto" and line.is_interrupted:
                self.replace(line)
                continue
            self._known.setdefault(line.id, []).append(line)
            if self.mode == "record":
                self.replace(line)
        asks = {lines[0].id: canonical(lines[0].ask) for lines in self._known.values()}
        self._masked = [(_pattern(text), id_) for id_, text in asks.items() if MASK in text]

    def _find(self, asked: Ask) -> list[Line]:
        """All recorded calls that asked this; where a secret was taken out of one, anything may stand now."""
        if found := self._known.get(id_of(asked)):
            return found
        text = canonical(asked) if self._masked else ""
        return next((self._known[id_] for pattern, id_ in self._masked if pattern.fullmatch(text)), [])

    async def _save(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        pictures, self._pictures = self._pictures, {}
        ours = {id_: [line for _, line in self._ours[id_]] for id_ in unsaved}
        gone = self._theirs_go | self._written
        try:
            await asyncio.to_thread(self.file.keep_pictures, pictures.values())
            await asyncio.to_thread(self.file.change, lambda lines: _merged(lines, ours, gone))
        except BaseException:
            self._unsaved |= unsaved
            self._pictures |= pictures
            raise
        finally:
            self._saving = None


def _begins(lines: Sequence[Line]) -> list[int]:
    """The number of the first call that each line stands for."""
    return [*accumulate((line.times for line in lines[:-1]), initial=0)]


def _nth(lines: Iterable[Line], number: int) -> Line | None:
    """The line of a call of that number, where each stands for as many as it was made."""
    ends = 0
    for line in lines:
        ends += line.times
        if number < ends:
            return line
    return None


def _is_again(line: Line, before: Line) -> bool:
    """Whether a call that is no stream had the outcome that it had before."""
    return line.events is None and replace(line, took_ms=0, times=1) == replace(before, took_ms=0, times=1)


def _merged(lines: Iterable[Line], ours: dict[str, list[Line]], gone: set[str]) -> Iterator[Line]:
    """The lines of a file with ours; of the calls that are ours those go that are ``gone``."""
    for line in lines:
        if line.id not in ours or line.content not in gone:
            yield line
    for added in ours.values():
        yield from added


def _pattern(text: str) -> re.Pattern[str]:
    """Fits any text that is the same but for what was taken out of it."""
    return re.compile(r'(?:[^"\\]|\\.)+?'.join(map(re.escape, text.split(MASK))))
