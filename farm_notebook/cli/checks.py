"""What ``farm doctor`` looks at. Each check yields findings; none prints, and none shows a variable's value.

A finding fails only where answering a question, in a notebook or here, would fail. The rest is a warning.
"""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from rich.filesize import decimal

from farm_notebook import __version__
from farm_notebook.cli.chat import follow
from farm_notebook.config.load import find_sources, find_unknown
from farm_notebook.errors import FarmError
from farm_notebook.farm import Farm
from farm_notebook.providers import make_provider
from farm_notebook.reply import ReplyBuilder

__all__ = ["PACKAGES", "Finding", "Mark", "answer", "cache", "model", "packages", "providers", "settings"]

Mark = Literal["ok", "warning", "failed"]

IMPORT_TIMEOUT_S = 60.0
ROOM_FACTOR = 2  # a model on its way needs its size twice: what was downloaded, and what is unpacked


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was looked at, what was found, and the command or setting that helps."""

    mark: Mark
    what: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution, the least version that will do, and what is lost without it."""

    name: str
    minimum: tuple[int, ...]
    loss: str
    is_needed: bool = False

    @property
    def requirement(self) -> str:
        """What to ask pip for."""
        return f"{self.name}>={'.'.join(map(str, self.minimum))}"


PACKAGES = (
    Package("ipython", (9,), "the magics need it", is_needed=True),
    Package("ipykernel", (7, 4), "older kernels keep panel buttons waiting while a cell streams"),
    Package("jupyterlab", (4, 6), "only needed where notebooks are edited"),
    Package("xllamacpp", (2026, 10), "it runs the embedded models", is_needed=True),
)


def packages() -> Iterator[Finding]:
    """Python, this package, and those around it."""
    yield Finding("ok", "python", f"{platform.python_version()}, {sys.executable}")
    yield Finding("ok", "farm-notebook", f"{__version__}, {Path(__file__).parent.parent}")
    for package in PACKAGES:
        bad: Mark = "failed" if package.is_needed else "warning"
        fix = f'pip install "{package.requirement}"'
        try:
            version = metadata.version(package.name)
        except metadata.PackageNotFoundError:
            yield Finding(bad, package.name, f"not installed; {package.loss}", fix)
            continue
        if _numbers(version) < package.minimum:
            yield Finding(bad, package.name, f"{version} is too old; {package.loss}", fix)
        elif package.is_needed and (problem := _import_problem(package.name)):
            fix = f'pip install --force-reinstall "{package.requirement}"'
            yield Finding(bad, package.name, f"{version} does not load: {problem}", fix)
        else:
            yield Finding("ok", package.name, version)


def settings() -> Iterator[Finding]:
    """Which files and variables set something, and which variables only look as if they did."""
    sources = find_sources()
    yield Finding("ok", "settings", f"from {'; '.join(sources)}" if sources else "the defaults")
    for place, meant in find_unknown():
        fix = f"rename it to {meant}" if meant else "see `farm config show --all` for what there is"
        yield Finding("warning", "settings", f"{place} sets nothing", fix)


def cache(farm: Farm) -> Iterator[Finding]:
    """Whether the cache folder can be written, and has room for the models that are not there yet."""
    folder = farm.config.cache_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror or error}"
        yield Finding("failed", "cache", detail, "set FARM_CACHE_DIR to a folder you can write to")
        return
    yield Finding("ok", "cache", f"{folder} can be written")
    infos = farm.list_models()
    missing = [info.size_bytes or 0 for info in infos if not info.available]
    room_bytes = ROOM_FACTOR * max(missing, default=0)
    if free_bytes >= room_bytes:
        yield Finding("ok", "disk", f"{decimal(free_bytes)} free")
    else:
        detail = f"{decimal(free_bytes)} free, and fetching a model takes up to {decimal(room_bytes)}"
        yield Finding("warning", "disk", detail, "free some, or set FARM_CACHE_DIR to another disk")
    if missing and util.find_spec("pip") is None and shutil.which("pip") is None:
        yield Finding("warning", "pip", "not installed; models can come from it", "python -m ensurepip")
    fetched = [str(info.ref) for info in infos if info.available]
    if fetched:
        yield Finding("ok", "fetched", ", ".join(fetched))


def model(farm: Farm) -> Iterator[Finding]:
    """Whether the model that answers when none is named is there, or can be had."""
    what = "default model"
    choose = "set FARM_MODEL to one that `farm models` lists"
    try:
        ref = farm.route().ref
    except FarmError as error:
        yield Finding("failed", what, str(error), choose)
        return
    infos = {info.ref: info for info in farm.list_models()}
    if ref in infos and not infos[ref].available:
        size = f" ({decimal(infos[ref].size_bytes or 0)})"
        if farm.config.offline:
            fix = f"unset FARM_OFFLINE and run: farm pull {ref}"
            yield Finding("failed", what, f"{ref} is not fetched{size}, and FARM_OFFLINE is set", fix)
        else:
            detail = f"{ref} is not fetched{size}; the first question will do it"
            yield Finding("warning", what, detail, f"farm pull {ref}")
    elif (
        ref in infos
        or Path(ref.model).expanduser().is_file()
        or not make_provider(ref.provider, farm.config).is_listed
    ):
        yield Finding("ok", what, str(ref))
    else:
        yield Finding("failed", what, f"{ref} is neither a known model nor a file", choose)


def providers(farm: Farm) -> Iterator[Finding]:
    """What every provider says of itself; the default model's has to be well."""
    default = ""
    with contextlib.suppress(FarmError):  # of which `model` tells
        default = farm.route().ref.provider
    for status in farm.health():
        bad: Mark = "failed" if status.name == default else "warning"
        if status.healthy:
            yield Finding("ok", status.name, status.detail)
        else:
            yield Finding(bad, status.name, status.detail, status.fix or "")


def answer(farm: Farm) -> Iterator[Finding]:
    """One token of the default model, really asked for; fetches and loads it if need be.

    Raises:
        FarmError: What went wrong on the way.
    """
    builder = ReplyBuilder(farm.core.request("Say hello.", max_tokens=1))
    follow(farm, builder)
    reply = builder.build()
    yield Finding(
        "ok", "answer", f"{reply.text!r}, {reply.footer}, after {reply.timings.total_s:.1f} s in all"
    )


def _import_problem(name: str) -> str:
    """Why a module does not import, or nothing; tried in another process, as native code may take it down."""
    module = "IPython" if name == "ipython" else name
    command = [sys.executable, "-P", "-c", f"import {module}"]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"importing it took longer than {IMPORT_TIMEOUT_S:g} s"
    if done.returncode < 0:
        return f"importing it ended Python with signal {-done.returncode}; is the wheel for this machine?"
    words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return words[-1] if done.returncode else ""


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, ``7.4.0rc1`` as ``(7, 4, 0)``."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()
