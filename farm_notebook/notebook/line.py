"""The line of a magic: how it is taken apart into words, and what is wrong with one that is not known."""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NoReturn, TypeAlias

from farm_notebook.errors import InvalidRequestError

__all__ = ["LineParser", "NameKind", "next_word", "one_of", "split_words", "suggestion", "unquote"]

NameKind: TypeAlias = Literal[
    "model", "device", "thread", "path", "variable", "callable", "class", "image", "texts", "column"
]
"""Whose names are offered for an argument: models, devices, conversations, files; or variables that hold
anything, something to call, a class (or a JSON schema), a picture (or its file), texts (or their file). A
``column`` is one of the data frame that the same line names as ``texts``."""

_WORD = re.compile(r"""\s*((?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*')+)(?=\s|$)""")
_OF_ARGUMENT = re.compile(r"^argument ([^:]+): ")  # how argparse begins an error
_AN_OBJECT = re.compile(r"""\s*\{\s*["']""")  # and no {name}
_GLUED_NUMBER = re.compile(r"(-t)(-?[0-9.]\S*)")
_QUOTED = re.compile(r""""((?:\\.|[^"\\])*)"|'([^']*)'""")
_KINDS: Mapping[str, NameKind] = {"device": "device", "out": "variable", "thread": "thread"}
_NOTHING: Mapping[str, object] = MappingProxyType({})


def next_word(line: str, position: int) -> re.Match[str] | None:
    """The next word, quotes and all, as group 1; ``None`` at the end and where a quote is not closed."""
    return _WORD.match(line, position)


def split_words(line: str) -> list[str]:
    """The words of a line without their quotes; a quote that is not closed is a character like any other."""
    words: list[str] = []
    position = 0
    while rest := line[position:].lstrip():
        word = next_word(line, position)
        if word is None:
            words.append(rest.split()[0])
            position = len(line) - len(rest) + len(words[-1])
        else:
            words.append(unquote(word[1]))
            position = word.end()
    return words


def unquote(word: str) -> str:
    """A word without its quotes; only ``"`` and a backslash are escaped, and only between double quotes."""
    return _QUOTED.sub(lambda quoted: _unescape(quoted[1]) if quoted[2] is None else quoted[2], word)


def suggestion(word: str, valid: Iterable[str]) -> str:
    """The sentence that names the closest valid word, or else all of them."""
    close = difflib.get_close_matches(word, names := sorted(valid), n=1)
    return f"Did you mean {close[0]}?" if close else f"Valid: {', '.join(names)}."


def one_of(words: Sequence[str], name: Callable[[str], str] = str) -> Callable[[str], str]:
    """What reads an argument that is one of some words; a mistyped one is told the closest.

    Args:
        words: What is valid.
        name: Makes one of them of what may be written as well.
    """

    def known(word: str) -> str:
        if name(word) not in words:
            raise argparse.ArgumentTypeError(f"{word!r} is not one of them. {suggestion(word, words)}")
        return name(word)

    return known


class LineParser(argparse.ArgumentParser):
    """argparse for a magic: an error is one sentence of ours, and nothing is printed or ended.

    Args:
        prog: The magic as it is written, for the help.
        help_at: What lists the options, as the user would type it.
        usage: The first line of the help; ``None`` lets argparse write it.
    """

    def __init__(self, prog: str, *, help_at: str, usage: str | None = None, description: str = "") -> None:
        super().__init__(prog, usage, description, add_help=False, allow_abbrev=False)
        self.help_at = help_at
        self.models_alone: float = 0  # how many a cell magic may name on its line without an option
        self._words: dict[str, tuple[str, ...]] = {}
        self._kinds: dict[str, NameKind] = dict(_KINDS)
        self._foreign: dict[str, str] = {}
        self.register("type", int, _whole_number)  # for errors in our words
        self.register("type", float, _number)

    def error(self, message: str) -> NoReturn:
        message = _OF_ARGUMENT.sub(lambda of: f"{of[1]}: " if of[1].startswith("-") else "", message)
        end = "" if message.endswith((".", "?")) else "."
        raise InvalidRequestError(
            f"{message[:1].upper()}{message[1:]}{end} `{self.help_at}` lists the options."
        )

    def add_word(
        self, name: str, words: Sequence[str], *, help: str, metavar: str = "", optional: bool = False
    ) -> None:
        """Take one of some words.

        Args:
            name: Of the attribute.
            words: What is valid.
            help: One line.
            metavar: How it stands in the help; without it, as the words.
            optional: Whether it may be left out.
        """
        self._words[name] = tuple(words)
        shown = metavar or "|".join(words)
        self.add_argument(name, nargs="?" if optional else None, type=one_of(words), metavar=shown, help=help)

    def explain_foreign(self, options: Mapping[str, str]) -> None:
        """Have options that are another tool's answered by what there is in their place.

        Args:
            options: From the option to a sentence.
        """
        self._foreign.update(options)

    def suggest(self, name: str, words: Sequence[str]) -> None:
        """Have words offered for an argument that may as well be another."""
        self._words[name] = tuple(words)

    def suggest_names(self, name: str, kind: NameKind) -> None:
        """Have names offered for an argument; a model's are for ``model`` and what ends in ``_model``."""
        self._kinds[name] = kind

    def kind(self, action: argparse.Action) -> NameKind | None:
        """Whose names are offered for an argument."""
        is_model = action.dest == "model" or action.dest.endswith("_model")
        return self._kinds.get(action.dest) or ("model" if is_model else None)

    def values(self, action: argparse.Action) -> tuple[str, ...]:
        """What to offer for an argument, where that is a matter of a few words."""
        return self._words.get(action.dest) or tuple(map(str, action.choices or ()))

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words in any order.

        Raises:
            InvalidRequestError: Quoting the bad word, with the closest valid one.
        """
        values, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            name = unknown[0].partition("=")[0]
            hint = f" {suggestion(name, self.options())}" if name.startswith("-") else ""
            self.error(f"{unknown[0]!r} is not understood.{hint}")
        return values

    def parse_line(
        self, line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = _NOTHING
    ) -> tuple[argparse.Namespace, str]:
        """Split a magic's line into its options and the prompt that follows them.

        The prompt is everything from the first word that is neither an option nor an option's value, quotes
        and all; ``--`` ends the options where a prompt begins with a dash.

        Args:
            line: What stands behind the magic's name.
            fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.
            defaults: What holds where the line says nothing, by the attribute's name; others are passed over.

        Raises:
            InvalidRequestError: Quoting the bad option and listing the valid ones.
        """
        arguments, prompt = self._split(line)
        return self._parsed(arguments, fill, defaults), prompt

    def parse_cell_line(
        self, line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = _NOTHING
    ) -> tuple[argparse.Namespace, list[str]]:
        """The same of a cell magic, whose prompt is on the lines below: words may stand among the options.

        Returns:
            The options, and those words.

        Raises:
            InvalidRequestError: As ``parse_line``.
        """
        arguments, rest = self._split(line)
        words: list[str] = []
        while rest:
            word = next_word(rest, 0)
            words.append(unquote(word[1]) if word else rest.split()[0])
            more, rest = self._split(rest[word.end() if word else len(words[-1]) :])
            arguments += more
        return self._parsed(arguments, fill, defaults), words

    def _parsed(
        self, arguments: list[str], fill: Callable[[str], str], defaults: Mapping[str, object]
    ) -> argparse.Namespace:
        if "--no-interpolate" not in arguments:
            arguments = [fill(argument) for argument in arguments]
        known = {action.dest for action in self._actions}
        held = {name: value for name, value in defaults.items() if name in known}
        return self.parse_args(arguments, argparse.Namespace(**held))

    def options(self) -> dict[str, argparse.Action]:
        """The options by every name they have."""
        return self._option_string_actions  # argparse has no public table of them

    def positionals(self) -> list[argparse.Action]:
        """The other arguments, in their order."""
        return self._get_positional_actions()

    def _split(self, line: str) -> tuple[list[str], str]:
        """The arguments, unquoted, and the untouched rest."""
        arguments: list[str] = []
        position = 0
        while (rest := line[position:].lstrip()).startswith("-"):
            token = next_word(line, position)
            word = token[1] if token else rest.split()[0]
            if token and word == "--":
                position = token.end()
                break
            name, is_joined = self._option_of(word)
            if not is_joined and self.options()[name].nargs == 0:
                arguments.append(name)
                position = len(line) - len(rest) + len(word)
                continue
            start = len(line) - len(rest) + len(name)
            value, position = _joined_value(line, start) if is_joined else _value(line, start)
            if value is None:
                raise InvalidRequestError(f"{name} needs a value, with its quotes closed: {line.strip()!r}.")
            if _AN_OBJECT.match(line, start):
                _check_object(name, line[start:].strip())
            arguments.append(f"{name}={value}")  # joined, so that one that begins with a dash is a value, too
        return arguments, line[position:].strip()

    def _option_of(self, word: str) -> tuple[str, bool]:
        """The option that a word begins with, and whether its value stands in the same word."""
        name, is_joined, _ = word.partition("=")
        if name not in self.options() and (glued := _GLUED_NUMBER.fullmatch(word)):
            name, is_joined = glued[1], "="
        if name not in self.options():
            hint = self._foreign.get(name) or suggestion(name, self.options())
            raise InvalidRequestError(
                f"{word!r} is not an option. {hint} Put -- before a prompt that begins with a dash."
            )
        return name, bool(is_joined)


def _value(line: str, position: int) -> tuple[str | None, int]:
    """The value at a place in a line, without quotes, and where it ends; a JSON object needs no quotes."""
    if end := _end_of_object(line, position):
        return line[position:end].strip(), end
    word = next_word(line, position)
    if word is None:
        return None, position
    return unquote(word[1]), word.end()


def _joined_value(line: str, position: int) -> tuple[str | None, int]:
    """The same where the value follows at once, behind a ``=``; it may be empty."""
    position += line.startswith("=", position)
    return _value(line, position) if line[position : position + 1].strip() else ("", position)


def _end_of_object(line: str, position: int) -> int:
    """Where a JSON object ends that stands in a line without quotes around it; 0 where none does."""
    start = position + len(line[position:]) - len(line[position:].lstrip())
    if not line.startswith("{", start):
        return 0
    try:
        end = json.JSONDecoder().raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return 0
    return end if not line[end : end + 1].strip() else 0


def _check_object(name: str, rest: str) -> None:
    """See that what begins like a JSON object is one: its first word would be taken for the whole.

    Raises:
        InvalidRequestError: Quoting it, with what is wrong.
    """
    try:
        json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} {rest!r} is not valid JSON: {error}.") from None


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _unescape(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text)
