"""``farm config``: what is set and where, whether it is valid, and files to begin with."""

from __future__ import annotations

import dataclasses
import json
import sys
import tomllib
from getpass import getpass
from pathlib import Path

import typer
from pydantic import ValidationError

from farm_notebook.cli.terminal import emit, is_terminal, note
from farm_notebook.config import FarmConfig, files
from farm_notebook.config.importing import import_file
from farm_notebook.config.javascript import PROGRAMS, find_node
from farm_notebook.config.layers import gather
from farm_notebook.config.load import find_problems, find_warnings, load_config
from farm_notebook.config.problems import near
from farm_notebook.config.provenance import SettingOrigin, explain_settings
from farm_notebook.config.secrets import forget_in_keyring, keep_in_keyring
from farm_notebook.config.template import template
from farm_notebook.config.toml import as_document, as_key, as_toml
from farm_notebook.config.values import as_variable
from farm_notebook.errors import ConfigError, InvalidRequestError
from farm_notebook.router.dead_ends import find_dead_ends

__all__ = ["check", "import_config", "init", "set_key", "show", "show_paths"]


def show(key: str | None, *, as_json: bool, everything: bool) -> None:
    """Write settings to stdout, and where each comes from.

    Args:
        key: One setting or section, ``cache.ttl_s`` or ``cache``; ``None`` is all.
        as_json: One JSON array, rather than lines of TOML.
        everything: Also what is at its default; a ``key`` is shown in any case.

    Raises:
        ConfigError: A setting is not valid.
        InvalidRequestError: There is no such key.
    """
    found = explain_settings()
    if key is not None:
        keys = {part for one in found for part in (one.key, one.key.rpartition(".")[0])} - {""}
        found = [one for one in found if one.key == key or one.key.startswith(f"{key}.")]
        if not found:
            raise InvalidRequestError(
                f"There is no setting {key!r}.{near(key, keys)} See `farm config show --all`."
            )
    elif not everything:
        found = [origin for origin in found if origin.source != "default"]
    if as_json:
        rows = [dataclasses.asdict(origin) for origin in found]
        emit(json.dumps(rows, ensure_ascii=False, default=str), end="\n")
        return
    if not found:
        emit("Nothing is set: the defaults hold. `farm config show --all` lists them.", end="\n")
    settings = [(f"{origin.key} = {as_toml(origin.value)}", _whence(origin)) for origin in found]
    width = min(max((len(setting) for setting, _ in settings), default=0), 60)
    for setting, whence in settings:
        emit(f"{setting:<{width}}  # {whence}", end="\n")


def check() -> bool:
    """Write all that is wrong to stdout, a line each, and what only looks wrong.

    Returns:
        Whether everything is valid.
    """
    problems, warnings = find_problems(), find_warnings()
    if not problems:
        places = {origin.key: origin.place for origin in explain_settings()}
        for found in find_dead_ends(load_config()):
            told = problems if found.is_certain else warnings
            told.append(f"{places.get(found.key) or found.key}: {found.text}")
    for problem in problems:
        emit(f"error: {problem}", end="\n")
    for warning in warnings:
        emit(f"warning: {warning}", end="\n")
    if not problems:
        emit("The settings are valid.", end="\n")
    return not problems


def init(*, for_user: bool, overwrite: bool) -> None:
    """Write a ``farm.toml`` with every setting as a comment, and say where it is.

    Args:
        for_user: The user's own, rather than one in this folder.
        overwrite: Also where there is one.

    Raises:
        ConfigError: There is one.
        OSError: It cannot be written.
    """
    path = files.user_file() if for_user else Path.cwd() / files.FARM_TOML
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, template(), overwrite=overwrite)
    emit(f"{path} written; every setting stands in it as a comment", end="\n")


def show_paths() -> None:
    """Write to stdout which files are read, strongest first, and which are not there."""
    folder = files.working_folder()
    sources = gather({}, folder)
    names = [f".env.{sources.environment}", ".env", "farm.toml or pyproject.toml"]
    rows: list[tuple[str, Path | None]] = []
    if folder is not None:
        rows += [
            (names[0], files.find_dotenv(folder, sources.environment)),
            (names[1], files.find_dotenv(folder)),
        ]
        rows.append((names[2], files.find_project_path(folder)))
    own = files.user_file()
    for name, path in (*rows, ("your own", own if own.is_file() else None)):
        missing = f"not there: {own}" if name == "your own" else f"none from {folder} upward"
        emit(f"{name:<28} {path or missing}", end="\n")


def import_config(file: Path, *, out: Path | None, overwrite: bool, is_allowed: bool) -> None:
    """Convert a JavaScript FARM configuration, to a file or to stdout; what is to be said goes to stderr.

    Args:
        file: The configuration.
        out: Where to write; ``None`` is stdout.
        overwrite: Also where there is a file.
        is_allowed: Run a program without asking.

    Raises:
        ConfigError: It cannot be read or run, what it becomes is not valid, or there is a file in the way.
        InvalidRequestError: It is a program, and nobody can be asked whether to run it.
    """
    if file.suffix in PROGRAMS and file.is_file() and (node := find_node()):
        note(f"{file} is a program: {node} will run it, with no variables but those node needs (PATH, HOME).")
        if not is_allowed and not is_terminal(sys.stdin):
            raise InvalidRequestError(f"Nobody can be asked whether {file} may run. If it may, say --yes.")
        if not is_allowed and not typer.confirm("Run it?", err=True):
            raise typer.Exit(1)
    imported = import_file(file)
    text = as_document(imported.values)
    dead_ends = find_dead_ends(_loaded(text, file))
    for line in imported.notes:
        note(line)
    for line in (*imported.warnings, *(f"{found.key}: {found.text}" for found in dead_ends)):
        note(f"warning: {line}", style="bold")
    if out is None:
        emit(text)
        return
    _write(out, text, overwrite=overwrite)
    emit(f"{out} written", end="\n")


def set_key(variable: str, *, forget: bool) -> None:
    """Put a key into the system's keyring, from a prompt or from what is piped in, or take it out.

    Args:
        variable: The name of the variable that it takes the place of.
        forget: Take it out.

    Raises:
        MissingExtraError: ``keyring`` is not installed.
        ConfigError: There is no keyring, or it refuses.
        InvalidRequestError: That is no name of a variable, or there is no key.
    """
    try:
        as_variable(variable)
    except ValueError as error:
        raise InvalidRequestError(f"That is not the name of a variable: {error}.") from None
    if forget:
        emit(f"{variable} {'forgotten' if forget_in_keyring(variable) else 'was not there'}", end="\n")
        return
    asks = is_terminal(sys.stdin)
    secret = (getpass(f"{variable}: ") if asks else sys.stdin.readline() if sys.stdin else "").strip()
    if not secret:
        raise InvalidRequestError("The key is empty. Type it at the prompt, or pipe it in.")
    emit(f"{variable} is kept in {keep_in_keyring(variable, secret)}", end="\n")


def _loaded(text: str, file: Path) -> FarmConfig:
    """The settings of a document, read as they will be."""
    try:
        return FarmConfig.model_validate(tomllib.loads(text))
    except ValidationError as error:
        keys = ", ".join(as_key(tuple(map(str, problem["loc"]))) for problem in error.errors())
        raise ConfigError(f"What {file} becomes is not valid: {keys}. Nothing was written.") from None


def _whence(origin: SettingOrigin) -> str:
    weaker = f" (not {'; '.join(origin.weaker)})" if origin.weaker else ""
    return (origin.place or origin.source) + weaker


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already. To overwrite it, say --force.") from None
