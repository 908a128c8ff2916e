"""Completes the lines of ``%farm`` and of the magics that ask models: subcommands, options, values, models.

Nobody is asked for it: models' names are those that the settings hold and that were met, see ``known``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from IPython.core.completer import SimpleCompletion, context_matcher

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.notebook.line import LineParser, split_words

if TYPE_CHECKING:
    import argparse

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from farm_notebook.notebook.known import KnownModels

__all__ = ["Completer"]

# Compiled where first used, so that importing stays cheap.
_LINE = rf"(?s)\s*(?:\w+\s*=\s*)?(?P<percent>%%?)(?P<name>farm|{'|'.join(CELL_MAGICS)})\s+(?P<words>.*)"


class Completer:
    """A matcher for IPython's completer.

    Args:
        known: The models' names.
    """

    def __init__(self, known: KnownModels) -> None:
        self._known = known

    @context_matcher(identifier="farm_notebook")  # type: ignore[untyped-decorator]  # IPython's
    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """What may stand where the cursor is; where that is no line of ours, nothing."""
        line = re.fullmatch(_LINE, context.text_until_cursor)
        if line is None:
            return {"completions": []}
        start = re.search(r"\S*\Z", line["words"])
        assert start is not None, "it may be empty"
        before = split_words(line["words"][: start.start()])
        if line["name"] == "farm":
            found = self._of_farm(before, start[0])
        else:
            parser = CELL_MAGICS[line["name"]].parser()
            found = self._of_magic(parser, before, start[0], is_cell=line["percent"] == "%%")
        return {
            "completions": [SimpleCompletion(text, type="farm") for text in found],
            "matched_fragment": start[0],
            "suppress": True,
            "ordered": True,
        }

    def _of_farm(self, before: Sequence[str], start: str) -> list[str]:
        if not before:
            return [name for name in COMMANDS if name.startswith(start)]
        if before[0] not in COMMANDS:
            return []
        return self._of_parser(COMMANDS[before[0]].parser(), before[1:], start)

    def _of_magic(self, parser: LineParser, before: Sequence[str], start: str, *, is_cell: bool) -> list[str]:
        if _positional_words(parser, before) or not (is_cell or start.startswith("-") or before):
            return []  # the prompt has begun, or may begin here
        return self._of_parser(parser, before, start, offers_options=is_cell)

    def _of_parser(
        self, parser: LineParser, before: Sequence[str], start: str, *, offers_options: bool = False
    ) -> list[str]:
        """What may follow some words."""
        options = parser.options()
        if before and (option := options.get(before[-1])) and option.nargs != 0:
            return self._of_argument(parser, option, start)
        name, is_joined, value = start.partition("=")
        if is_joined and name in options:
            return [f"{name}={found}" for found in self._of_argument(parser, options[name], value)]
        if start.startswith("-"):
            return [name for name in options if name.startswith(start)]
        arguments = parser.positionals()
        place = len(_positional_words(parser, before))
        if arguments and (place < len(arguments) or arguments[-1].nargs == "*"):
            return self._of_argument(parser, arguments[min(place, len(arguments) - 1)], start)
        return [name for name in options if name.startswith("--")] if offers_options and not start else []

    def _of_argument(self, parser: LineParser, argument: argparse.Action, start: str) -> list[str]:
        words = _starting(_devices() if argument.dest == "device" else parser.values(argument), start)
        is_model = argument.dest == "model" or argument.dest.endswith("_model")
        return [*words, *self._known.matching(start)] if is_model else words


def _devices() -> list[str]:
    """Where a model may be put; to read the devices takes less than a millisecond."""
    from farm_notebook.devices import device_stats

    return ["auto", *(device.id for device in device_stats())]


def _starting(words: Iterable[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]


def _positional_words(parser: LineParser, words: Sequence[str]) -> list[str]:
    """The words that are neither options nor their values."""
    options = parser.options()
    found: list[str] = []
    takes_next = False
    for word in words:
        option = options.get(word)
        if not takes_next and option is None and "=" not in word and not word.startswith("-"):
            found.append(word)
        takes_next = not takes_next and option is not None and option.nargs != 0
    return found
