"""Directives that make a reference out of the code: options of magics, commands, settings, errors.

Each writes Markdown, which the page is read as: ``{farm-magic} farm_chat``, ``{farm-subcommands}``,
``{farm-commands}``, ``{farm-settings}``, ``{farm-errors}``.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from farm_notebook import errors
from farm_notebook.config import ENV_PREFIX, FarmConfig
from farm_notebook.config.template import FOUND, describe, summary
from farm_notebook.config.toml import as_toml
from farm_notebook.config.values import Section
from farm_notebook.errors import FarmError
from farm_notebook.notebook.line import LineParser

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, bool]:
    for kind in (MagicOptions, Subcommands, Commands, Settings, Errors, Error, Gallery):
        app.add_directive(kind.name_, kind)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Generated(SphinxDirective):
    """A directive whose content is Markdown that its ``lines`` make."""

    optional_arguments = 1
    name_: ClassVar[str]

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


class MagicOptions(Generated):
    """The options of one cell magic, a table for each of its groups."""

    name_ = "farm-magic"
    required_arguments = 1

    def lines(self) -> Iterator[str]:
        from farm_notebook.notebook.cells import CELL_MAGICS

        yield from _tables_of(CELL_MAGICS[self.arguments[0]].parser())


class Subcommands(Generated):
    """Every subcommand of ``%farm``, a section each."""

    name_ = "farm-subcommands"

    def lines(self) -> Iterator[str]:
        from farm_notebook.notebook.commands import COMMANDS

        for command in COMMANDS.values():
            parser = command.parser()
            usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
            yield from (f"## `%farm {command.name}`", "", f"{_sentence(command.help)}", "")
            yield from ("```", usage.replace(" [-h]", ""), "```", "", *_tables_of(parser))


class Commands(Generated):
    """Every command of the program ``farm``, a section each."""

    name_ = "farm-commands"

    def lines(self) -> Iterator[str]:
        import typer

        from farm_notebook.cli.app import app

        yield from self._of(typer.main.get_command(app), "farm")

    def _of(self, command: Any, name: str) -> Iterator[str]:
        if hasattr(command, "commands"):
            for word, inner in command.commands.items():
                yield from self._of(inner, f"{name} {word}")
            return
        yield from (f"## `{name}`", "", command.help or "", "")
        context = command.make_context(name, [], resilient_parsing=True)
        told = [each.get_help_record(context) for each in command.params]
        rows = [(f"`{names}`", said) for names, said in filter(None, told)]
        yield from _table(("argument or option", "meaning"), rows)


class Settings(Generated):
    """Every setting: its variable, its key in ``farm.toml``, its default and its meaning."""

    name_ = "farm-settings"

    def lines(self) -> Iterator[str]:
        fields = FarmConfig.model_fields
        plain = [name for name in fields if not isinstance(_default(fields[name]), Section)]
        yield from ("## General", "", *_settings(FarmConfig, plain, ""))
        for name in fields:
            if name not in plain:
                section = type(_default(fields[name]))
                yield from (f"## `[{name}]`", "", summary(section), "")
                yield from _settings(section, list(section.model_fields), f"{name}.")


class Errors(Generated):
    """Every error, with its page and what it means."""

    name_ = "farm-errors"

    def lines(self) -> Iterator[str]:
        kinds = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]
        rows = [(f"[`{kind.__name__}`](/errors/{kind.__name__}.md)", _first_line(kind)) for kind in kinds]
        yield from _table(("error", "when"), rows)


class Error(Generated):
    """What the error that the page is called by is a kind of, and where it stands in the reference."""

    name_ = "farm-error"

    def lines(self) -> Iterator[str]:
        kind = getattr(errors, self.env.docname.rpartition("/")[2])
        bases = [base for base in kind.__bases__ if base is not Exception]
        named = [_entry(base) if issubclass(base, FarmError) else f"`{base.__name__}`" for base in bases]
        of = f"A kind of {' and '.join(named)}; see" if named else "See"
        yield f"{of} {_entry(kind, 'the reference')}."


def _entry(kind: type[FarmError], words: str = "") -> str:
    """A link into the reference."""
    room = "farm_notebook" if kind is FarmError else "farm_notebook.errors"
    return f"{{py:exc}}`{words or kind.__name__} <{room}.{kind.__name__}>`"


def _first_line(thing: object) -> str:
    """Of a docstring, as Markdown."""
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "`")


class Gallery(Generated):
    """Every notebook, with the first paragraph of what it says."""

    name_ = "farm-gallery"

    def lines(self) -> Iterator[str]:
        for path in sorted(Path(self.env.srcdir, "gallery").glob("*.ipynb")):
            self.env.note_dependency(str(path))
            head = nbformat.read(path, as_version=4).cells[0].source
            title, first, *_ = re.split(r"\n{2,}", head.removeprefix("# "))
            yield from (f"[**{title}**](/gallery/{path.stem})", "", first, "")


def _tables_of(parser: LineParser) -> Iterator[str]:
    for group in parser._action_groups:  # argparse has no public table of them
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions and group.title not in ("positional arguments", "options"):
            yield from (f"**{_sentence(group.title or '')}**", "")
        rows = [(_names(each), _help(each)) for each in actions]
        yield from _table(("argument or option", "meaning"), rows)


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    end = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{name}{end}`" for name in action.option_strings)


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default}
    choices = ", ".join(f"`{each}`" for each in action.choices or ()) if action.metavar else ""
    return f"{text} ({choices})" if choices else text


def _settings(section: type[Section], names: list[str], prefix: str) -> Iterator[str]:
    rows = []
    for name in names:
        key = prefix + name
        default = FOUND.get(key) or f"`{as_toml(_default(section.model_fields[name]))}`"
        variable = f"`{ENV_PREFIX}{key.upper().replace('.', '__')}`"
        rows.append((f"`{key}`", variable, default, describe(section, name)))
    yield from _table(("key", "variable", "default", "meaning"), rows)


def _default(field: Any) -> Any:
    return field.get_default(call_default_factory=True)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        for row in (head, ("---",) * len(head), *rows):
            yield f"| {' | '.join(_cell(text) for text in row)} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
