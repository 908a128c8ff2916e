"""``%farm config``: the settings, where they come from, and reading them anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.config.provenance import SettingOrigin

__all__ = ["add_arguments", "run"]

ACTIONS = ("show", "reload", "path")


def add_arguments(parser: LineParser) -> None:
    parser.add_word("action", ACTIONS, help="the settings; read them anew; the files they are read from")
    parser.add_argument("--all", action="store_true", help="show also those that have their defaults")


def run(session: Session, arguments: argparse.Namespace) -> Table[SettingOrigin] | None:
    """Show the settings or their files, or read them anew."""
    farm = session.farm
    match arguments.action:
        case "reload":
            before = farm.config
            _tell_changes(before.model_dump(), farm.reload().model_dump())
        case "path":
            _tell_files(farm.core.settings)
        case _:
            from farm_notebook.config.provenance import explain_settings

            found = explain_settings(farm.core.settings)
            if arguments.all or any(each.source != "default" for each in found):
                return _table(found, with_defaults=arguments.all)
            print("Nothing is set: the defaults hold. `%farm config show --all` lists them.")
    return None


def _table(settings: list[SettingOrigin], *, with_defaults: bool) -> Table[SettingOrigin]:
    shown = [each for each in settings if with_defaults or each.source != "default"]
    rows = ((each.key, _text(each.value), _whence(each)) for each in shown)
    note = "" if with_defaults else "All others have their defaults: `%farm config show --all`."
    return Table(("setting", "value", "from"), tuple(rows), tuple(shown), note)


def _tell_files(settings: dict[str, Any] | None) -> None:
    from farm_notebook.config.load import load_with_sources

    files = load_with_sources(settings)[1].files
    print("\n".join(map(str, files)) or "No file was found; `farm config init` writes one.")


def _tell_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say which settings differ, without their values: one of them may be secret."""
    changed = ", ".join(_differences(before, after))
    print(f"Changed: {changed}." if changed else "Nothing has changed.")


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], section: str = "") -> Iterator[str]:
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{section}{name}.")
        elif old != new:
            yield f"{section}{name}"


def _whence(origin: SettingOrigin) -> str:
    return "this session" if origin.source == "arguments" else origin.place or origin.source


def _text(value: object) -> str:
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
