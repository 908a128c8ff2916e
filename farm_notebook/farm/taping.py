"""The cassette of a farm: the tape that its settings ask for, and the notebook that it belongs to."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

import psutil

from farm_notebook.cassettes import CassetteFile, Mode, Tape, cassette_path, missing, rewind, scrub_for
from farm_notebook.config import FarmConfig
from farm_notebook.pool import Pool
from farm_notebook.pool.notebook import notebook_name

__all__ = ["notebook_file", "open_cassette", "tape_for"]

_SESSION = "JPY_SESSION_NAME"
_PAPERMILL = "papermill"
_OUTPUT = ("-o", "--output")  # behind these stands what is written
_SHARED_DRIVE = "RTC:"  # before the name of a notebook that several people edit at once


def tape_for(config: FarmConfig, pool: Pool) -> Tape:
    """What records or replays the calls of a farm.

    Settings of a folder of notebooks hold in its terminals and scripts, too. Those are no notebook, and
    ``auto`` without a file does neither there.

    Args:
        config: Its settings.
        pool: What it shares with others of the same settings.
    """
    settings = config.cassette
    if settings.mode == "auto" and settings.file is None and not _is_kernel():
        settings = settings.model_copy(update={"mode": "off"})
    return Tape(settings, pool.providers, scrub=scrub_for(config), notebook=notebook_file)


def open_cassette(mode: Mode, named: str | Path | None) -> Path:
    """The file of a cassette, from its beginning.

    Args:
        mode: What it is for.
        named: As a user writes it; ``None`` is the one beside the notebook.

    Raises:
        CassetteError: Which one cannot be known, it cannot be read, or there is none to replay.
    """
    file = CassetteFile(cassette_path(None if named is None else Path(named), notebook_file))
    if mode == "replay" and file.version is None:
        raise missing(file.path)
    file.read()
    rewind(file.path)
    return file.path


def notebook_file() -> Path | None:
    """The file of the notebook whose kernel this is; ``None`` where nobody tells, or it has another name now.

    Jupyter's server and VS Code say it. Programs that execute a notebook (nbconvert, papermill, nbval) do
    not, but have it on their command line.
    """
    runner = _runner()
    name = notebook_name()
    if name is not None and name == os.environ.get(_SESSION) and _was_inherited(name, runner):
        name = None
    if name is not None:
        path = Path(name)
        path = path.with_name(path.name.removeprefix(_SHARED_DRIVE)).absolute()
        return path if path.suffix == ".ipynb" and path.is_file() else None  # it may have another name by now
    return _executed_by(runner) if _is_kernel() else None


def _is_kernel() -> bool:
    return "ipykernel" in sys.modules


def _runner() -> psutil.Process | None:
    """The process that started this kernel."""
    try:
        return psutil.Process().parent()
    except psutil.Error:
        return None


def _was_inherited(name: str, runner: psutil.Process | None) -> bool:
    """Whether the name is that of another notebook, out of which whoever started this kernel was started."""
    try:
        return runner is not None and runner.environ().get(_SESSION) == name
    except (psutil.Error, OSError):
        return False


def _executed_by(runner: psutil.Process | None) -> Path | None:
    """The one notebook on a command line that is executed; ``None`` where there are several."""
    if runner is None:
        return None
    try:
        words, folder = runner.cmdline(), runner.cwd()
    except (psutil.Error, OSError):
        return None
    named = [
        Path(folder, word)
        for before, word in pairwise(["", *words])
        if word.endswith(".ipynb") and not word.startswith("-") and before not in _OUTPUT
    ]
    found = list(dict.fromkeys(path for path in named if path.is_file()))
    if any(Path(word).name.startswith(_PAPERMILL) for word in words):
        return found[0] if found and found[0] == named[0] else None  # the second one is written
    return found[0] if len(found) == 1 else None
