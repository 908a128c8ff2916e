"""Finds the files that hold settings, and reads them; what they mean is not decided here.

A file is looked for in a folder and those above it. The user's home folder is the last that is looked at. A
folder in which everybody may make files, as ``/tmp``, is passed over unless it is where the search begins.
"""

from __future__ import annotations

import os
import stat
import time
import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from farm_notebook.errors import ConfigError

__all__ = [
    "Dotenv",
    "SettingsFile",
    "find_dotenv",
    "find_overruled",
    "find_project_file",
    "find_project_path",
    "last_folder",
    "read_dotenv",
    "read_toml",
    "remember",
    "user_file",
    "working_folder",
]

T = TypeVar("T")

FARM_TOML = "farm.toml"
PYPROJECT = "pyproject.toml"
RACY_NS = 1_000_000_000  # a file changed less than this ago may change again within one tick of its clock

_last_folder: Path | None = None


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A TOML file and the settings in it.

    Args:
        path: The file.
        values: Its settings.
        table: What stands before each key there: ``tool.farm.`` in a ``pyproject.toml``.
    """

    path: Path
    values: Mapping[str, Any]
    table: str = ""


@dataclass(frozen=True, slots=True)
class Dotenv:
    """A file of variables.

    Args:
        path: The file.
        bindings: Names and values in their order; a name may come again.
        broken: Lines that are no binding: their numbers, from 1, and what stands there.
    """

    path: Path
    bindings: tuple[tuple[str, str], ...] = field(repr=False)
    broken: tuple[tuple[int, str], ...] = field(repr=False)

    def variables(self) -> Mapping[str, str]:
        """What each name holds, with ``${NAME}`` replaced: by the environment's value, else by the file's."""
        from dotenv.variables import parse_variables

        found: dict[str, str] = {}
        around = ChainMap(os.environ, found)
        for name, text in self.bindings:
            atoms = parse_variables(text) if "${" in text else ()
            found[name] = "".join(atom.resolve(around) for atom in atoms) if atoms else text
        return found


def working_folder() -> Path | None:
    """The folder of the kernel, which is the notebook's; ``None`` where it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def remember(folder: Path | None) -> None:
    """Note where settings were read last: a kernel that has gone elsewhere still finds its keys there."""
    global _last_folder
    _last_folder = folder


def last_folder() -> Path | None:
    """Where settings were read last."""
    return _last_folder


def user_file() -> Path:
    """The user's own file, which need not be there."""
    return platformdirs.user_config_path("farm-notebook", appauthor=False) / FARM_TOML


def find_dotenv(folder: Path, environment: str | None = None) -> Path | None:
    """The nearest ``.env``, or ``.env.{environment}``, from a folder upward."""
    name = f".env.{environment}" if environment is not None else ".env"
    return next((path for above in _upward(folder) if (path := above / name).is_file()), None)


def find_project_file(folder: Path) -> SettingsFile | None:
    """The nearest ``farm.toml``, or ``pyproject.toml`` with a table ``tool.farm``, from a folder upward.

    Where one folder has both, ``farm.toml`` counts.

    Raises:
        ConfigError: It is no TOML, or cannot be read.
    """
    path = find_project_path(folder)
    if path is None or path.name == FARM_TOML:
        return None if path is None else SettingsFile(path, read_toml(path))
    table = _cached(path, _tool_farm)
    return SettingsFile(path, table or {}, table="tool.farm.")


def find_project_path(folder: Path) -> Path | None:
    """Where that is; likewise."""
    for above in _upward(folder):
        if (path := above / FARM_TOML).is_file():
            return path
        if (path := above / PYPROJECT).is_file() and _cached(path, _tool_farm) is not None:
            return path
    return None


def find_overruled(folder: Path) -> Path | None:
    """The ``pyproject.toml`` whose table ``tool.farm`` is not read, as there is a ``farm.toml`` beside it."""
    path = find_project_path(folder)
    if path is None or path.name != FARM_TOML or not (beside := path.with_name(PYPROJECT)).is_file():
        return None
    return beside if _cached(beside, _tool_farm) is not None else None


def read_toml(path: Path) -> Mapping[str, Any]:
    """The contents of a TOML file, which are shared and not to be changed.

    Raises:
        ConfigError: It is no TOML, or cannot be read; with the line.
    """
    return _cached(path, _parse_toml)


def read_dotenv(path: Path) -> Dotenv:
    """The contents of a file of variables.

    Raises:
        ConfigError: It cannot be read.
    """
    return _cached(path, _parse_dotenv)


def _upward(folder: Path) -> Iterator[Path]:
    home = os.path.realpath(os.path.expanduser("~"))
    for above in (folder, *folder.parents):
        if above == folder or not _is_everybodys(above):
            yield above
        if str(above) == home:
            return


def _is_everybodys(folder: Path) -> bool:
    """Whether anyone may make a file there, and so could set where another user's keys are sent to."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISVTX and mode & stat.S_IWOTH)


_parsed: dict[tuple[Path, Callable[[Path], Any]], tuple[tuple[int, ...], Any]] = {}


def _cached(path: Path, parse: Callable[[Path], T]) -> T:
    """What a file holds, parsed anew when it has changed."""
    try:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known: tuple[tuple[int, ...], T] | None = _parsed.get((path, parse))
        if known is not None and known[0] == stamp:
            return known[1]
        contents = parse(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from None
    if time.time_ns() - found.st_mtime_ns > RACY_NS:
        _parsed[path, parse] = stamp, contents
    return contents


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}."
        ) from None


def _parse_toml(path: Path) -> Mapping[str, Any]:
    text = _text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"in line {text.count(chr(10)) + 1}, where the file ends"
        said = str(error).replace("(at end of document)", f"({end})")
        raise ConfigError(f"{path} is not valid TOML: {said}.") from None


def _tool_farm(path: Path) -> Mapping[str, Any] | None:
    """The table ``tool.farm``; most projects have none, and then nothing is parsed."""
    if b"farm" not in path.read_bytes():
        return None
    tool = _parse_toml(path).get("tool")
    table = tool.get("farm") if isinstance(tool, Mapping) else None
    return table if isinstance(table, Mapping) else None


def _parse_dotenv(path: Path) -> Dotenv:
    import io

    from dotenv.parser import parse_stream

    bindings, broken = [], []
    for binding in parse_stream(io.StringIO(_text(path))):
        if binding.error:
            broken.append((binding.original.line, binding.original.string))
        elif binding.key is not None and binding.value is not None:
            bindings.append((binding.key, binding.value))
    return Dotenv(path, tuple(bindings), tuple(broken))
