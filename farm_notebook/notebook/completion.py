"""Completes the lines of ``%farm`` and of the magics that ask models, and ``{names}`` in their prompts.

Nobody is asked for it: models' names are those that the settings hold and that were met, see ``known``; what
else an argument may be called is told by its kind, see ``line.NameKind``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from IPython.core.completer import SimpleCompletion, context_matcher

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.notebook.line import LineParser, split_words
from farm_notebook.notebook.offers import (
    IMAGE_ENDINGS,
    TEXT_ENDINGS,
    attribute_names,
    column_names,
    names_of_files,
    names_of_values,
)
from farm_notebook.threads import default_threads

if TYPE_CHECKING:
    import argparse

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from farm_notebook.notebook.known import KnownModels

__all__ = ["Completer"]

# Compiled where first used, so that importing stays cheap.
_ASKING = "|".join(CELL_MAGICS)
_LINE = rf"(?s)\s*(?:\w+\s*=\s*)?(?P<percent>%%?)(?P<name>farm|{_ASKING})\s+(?P<words>.*)"
_CELL = rf"\s*%%(?:{_ASKING})(?=\s)"
_FIELD = r"(?s).*(?<!\{)\{(?P<start>(?:(?P<name>[^\W\d]\w*)\.)?\w*)"  # one that is not closed yet


class Completer:
    """A matcher for IPython's completer.

    Args:
        known: The models' names.
        namespace: Gives the notebook's variables.
    """

    def __init__(
        self, known: KnownModels, namespace: Callable[[], Mapping[str, object]] = dict[str, object]
    ) -> None:
        self._known = known
        self._namespace = namespace

    @context_matcher(identifier="farm_notebook")  # type: ignore[untyped-decorator]  # IPython's
    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """What may stand where the cursor is; where that is no line or prompt of ours, nothing."""
        line = re.fullmatch(_LINE, context.text_until_cursor)
        is_ours = line is not None or (context.cursor_line > 0 and re.match(_CELL, context.full_text))
        if is_ours and (field := re.fullmatch(_FIELD, context.text_until_cursor)):
            return _result(self._of_field(field), field["start"])
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
        return _result(found, start[0])

    def _of_field(self, field: re.Match[str]) -> list[str]:
        """Names behind an open brace, or what a name there has."""
        start, name, namespace = field["start"], field["name"], self._namespace()
        if name is None:
            return names_of_values("variable", namespace, start)
        return _starting((f"{name}.{each}" for each in attribute_names(namespace.get(name))), start)

    def _of_farm(self, before: Sequence[str], start: str) -> list[str]:
        if not before:
            return [name for name in COMMANDS if name.startswith(start)]
        if before[0] not in COMMANDS:
            return []
        return self._of_parser(COMMANDS[before[0]].parser(), before[1:], start)

    def _of_magic(self, parser: LineParser, before: Sequence[str], start: str, *, is_cell: bool) -> list[str]:
        words = _positional_words(parser, before)
        if not is_cell and (words or not (start.startswith("-") or before)):
            return []  # the prompt has begun, or may begin here
        found = self._of_parser(parser, before, start, offers_options=is_cell)
        takes_value = before and (option := parser.options().get(before[-1])) and option.nargs != 0
        is_word = start and not (takes_value or start[0] == "-")
        if is_cell and is_word and len(words) < parser.models_alone:
            return self._models(start)
        return found

    def _models(self, start: str) -> list[str]:
        """Models' names; ``A,B`` names two, where several may be named."""
        before, comma, name = start.rpartition(",")
        return [f"{before}{comma}{each}" for each in self._known.matching(name)]

    def _of_parser(
        self, parser: LineParser, before: Sequence[str], start: str, *, offers_options: bool = False
    ) -> list[str]:
        """What may follow some words."""
        options = parser.options()
        if before and (option := options.get(before[-1])) and option.nargs != 0:
            return self._of_argument(parser, option, before, start)
        name, is_joined, value = start.partition("=")
        if is_joined and name in options:
            return [f"{name}={found}" for found in self._of_argument(parser, options[name], before, value)]
        if start.startswith("-"):
            return [name for name in options if name.startswith(start)]
        arguments = parser.positionals()
        place = len(_positional_words(parser, before))
        if arguments and (place < len(arguments) or arguments[-1].nargs == "*"):
            return self._of_argument(parser, arguments[min(place, len(arguments) - 1)], before, start)
        return [name for name in options if name.startswith("--")] if offers_options and not start else []

    def _of_argument(
        self, parser: LineParser, argument: argparse.Action, before: Sequence[str], start: str
    ) -> list[str]:
        words = _starting(parser.values(argument), start)
        match parser.kind(argument):
            case None:
                return words
            case "model":
                return [*words, *self._models(start)]
            case "device":
                return [*words, *_starting(_devices(), start)]
            case "thread":
                return [*words, *_starting(default_threads().names(), start)]
            case "path":
                return [*words, *_quoted(names_of_files(start.lstrip(_QUOTES)))]
            case "column":
                return [*words, *_quoted(_starting(self._columns(parser, before), start.lstrip(_QUOTES)))]
            case kind:
                files = names_of_files(start.lstrip(_QUOTES), _ENDINGS[kind]) if kind in _ENDINGS else []
                return [*words, *names_of_values(kind, self._namespace(), start), *_quoted(files)]

    def _columns(self, parser: LineParser, before: Sequence[str]) -> list[str]:
        """Those of the data frame that the line names."""
        for argument, word in _given(parser, before):
            if parser.kind(argument) == "texts" and (found := column_names(self._namespace().get(word))):
                return found
        return []


_QUOTES = "\"'"
_ENDINGS: Mapping[str, tuple[str, ...]] = {"image": IMAGE_ENDINGS, "texts": TEXT_ENDINGS}


def _result(found: Iterable[str], start: str) -> SimpleMatcherResult:
    return {
        "completions": [SimpleCompletion(text, type="farm") for text in found],
        "matched_fragment": start,
        "suppress": True,
        "ordered": True,
    }


def _devices() -> list[str]:
    """Where a model may be put; to read the devices takes less than a millisecond."""
    from farm_notebook.devices import device_stats

    return ["auto", *(device.id for device in device_stats())]


def _starting(words: Iterable[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]


def _quoted(names: Iterable[str]) -> list[str]:
    """Names as one word each: those with spaces between quotes."""
    return [f'"{name}"' if " " in name else name for name in names]


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


def _given(parser: LineParser, words: Sequence[str]) -> Iterable[tuple[argparse.Action, str]]:
    """The arguments that stand in some words, each with its value."""
    options = parser.options()
    yield from zip(parser.positionals(), _positional_words(parser, words), strict=False)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, is_joined, value = word.partition("=")
        if name in options:
            yield options[name], value if is_joined else following
