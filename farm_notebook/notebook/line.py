"""The line of a magic: how it is taken apart into words, and what is wrong with one that is not known."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from farm_notebook.errors import InvalidRequestError

__all__ = ["LineParser", "next_word", "split_words", "suggestion", "unquote"]

_WORD = re.compile(r"""\s*((?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*')+)(?=\s|$)""")
_GLUED_NUMBER = re.compile(r"(-t)(-?[0-9.]\S*)")
_QUOTED = re.compile(r""""((?:\\.|[^"\\])*)"|'([^']*)'""")


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
        self._words: dict[str, tuple[str, ...]] = {}

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith((".", "?")) else "."
        raise InvalidRequestError(
            f"{message[:1].upper()}{message[1:]}{end} `{self.help_at}` lists the options."
        )

    def add_word(
        self, name: str, words: Sequence[str], *, help: str, metavar: str = "", optional: bool = False
    ) -> None:
        """Take one of some words; a mistyped one is told the closest.

        Args:
            name: Of the attribute.
            words: What is valid.
            help: One line.
            metavar: How it stands in the help; without it, as the words.
            optional: Whether it may be left out.
        """

        def known(word: str) -> str:
            if word not in words:
                raise argparse.ArgumentTypeError(f"{word!r} is not one of them. {suggestion(word, words)}")
            return word

        self._words[name] = tuple(words)
        shown = metavar or "|".join(words)
        self.add_argument(name, nargs="?" if optional else None, type=known, metavar=shown, help=help)

    def suggest(self, name: str, words: Sequence[str]) -> None:
        """Have words offered for an argument that may as well be another."""
        self._words[name] = tuple(words)

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

    def parse_line(self, line: str, fill: Callable[[str], str]) -> tuple[argparse.Namespace, str]:
        """Split a magic's line into its options and the prompt that follows them.

        The prompt is everything from the first word that is neither an option nor an option's value, quotes
        and all; ``--`` ends the options where a prompt begins with a dash.

        Args:
            line: What stands behind the magic's name.
            fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.

        Raises:
            InvalidRequestError: Quoting the bad option and listing the valid ones.
        """
        arguments, prompt = self._split(line)
        if "--no-interpolate" not in arguments:
            arguments = [fill(argument) for argument in arguments]
        return self.parse_args(arguments), prompt

    def options(self) -> dict[str, argparse.Action]:
        """The options by every name they have."""
        return self._option_string_actions  # argparse has no public table of them

    def positionals(self) -> list[argparse.Action]:
        """The other arguments, in their order."""
        return self._get_positional_actions()

    def _split(self, line: str) -> tuple[list[str], str]:
        """The arguments, unquoted, and the untouched rest."""
        actions = self.options()
        arguments: list[str] = []
        position = 0
        while (rest := line[position:].lstrip()).startswith("-"):
            token = next_word(line, position)
            word = token[1] if token else rest.split()[0]
            if token and word == "--":
                position = token.end()
                break
            name = word.partition("=")[0]
            if name not in actions and (glued := _GLUED_NUMBER.fullmatch(word)):
                name, word = glued[1], f"{glued[1]}={glued[2]}"
            if name not in actions:
                raise InvalidRequestError(
                    f"{word!r} is not an option. {suggestion(name, actions)} "
                    "Put -- before a prompt that begins with a dash."
                )
            value = token
            if token and "=" not in word and actions[name].nargs != 0:
                value = next_word(line, token.end())
                word = f"{name}={value[1]}" if value else name
            if value is None:
                raise InvalidRequestError(f"{name} needs a value, with its quotes closed: {line.strip()!r}.")
            # Joined with "=", so that a value that begins with a dash is still a value.
            arguments.append(unquote(word))
            position = value.end()
        return arguments, line[position:].strip()


def _unescape(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text)
