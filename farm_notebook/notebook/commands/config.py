"""``%farm config``: the settings, where they come from, and reading them anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.config import FarmConfig
    from farm_notebook.config.layers import Sources

__all__ = ["add_arguments", "run"]

ACTIONS = ("show", "reload", "path")
Path = tuple[str, ...]


def add_arguments(parser: LineParser) -> None:
    parser.add_word("action", ACTIONS, help="the settings; read them anew; the files they are read from")
    parser.add_argument("--all", action="store_true", help="show also those that have their defaults")


def run(session: Session, arguments: argparse.Namespace) -> Table[tuple[str, str]] | None:
    """Show the settings or their files, or read them anew."""
    farm = session.farm
    match arguments.action:
        case "reload":
            before = _flat(farm.config)
            after = _flat(farm.reload())
            _tell_changes(before, after)
        case "path":
            files = _sources(farm).files
            print("\n".join(map(str, files)) or "No file was found; `farm config init` writes one.")
        case _:
            return _table(farm.config, _sources(farm), with_defaults=arguments.all)
    return None


def _table(config: FarmConfig, sources: Sources, *, with_defaults: bool) -> Table[tuple[str, str]]:
    rows = []
    for path, value in _flat(config).items():
        origin = sources.origin(path)
        if origin is not None or with_defaults:
            rows.append((".".join(path), value, origin.place(path) if origin else "default"))
    note = "" if with_defaults else "All others have their defaults: `%farm config show --all`."
    return Table(("setting", "value", "from"), tuple(rows), tuple((row[0], row[1]) for row in rows), note)


def _sources(farm: Any) -> Sources:
    from farm_notebook.config.load import load_with_sources

    return load_with_sources(farm.core.settings)[1]


def _tell_changes(before: Mapping[Path, str], after: Mapping[Path, str]) -> None:
    changed = [path for path in dict.fromkeys([*before, *after]) if before.get(path) != after.get(path)]
    for path in changed:
        print(f"{'.'.join(path)}: {before.get(path, 'not set')} → {after.get(path, 'not set')}")
    if not changed:
        print("Nothing has changed.")


def _flat(config: FarmConfig) -> dict[Path, str]:
    """Every single setting as text, what may be secret masked."""
    from farm_notebook.config.masking import masked

    shown = masked((), config.model_dump(mode="json"))
    return {
        path: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for path, value in _leaves((), shown)
    }


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves((*path, str(name)), inner)
    elif value not in ({}, [], None):
        yield path, value
