"""How much memory a container, or any control group of Linux, lets this process have.

The files are read as they are now; which of the groups have a limit is looked up again every ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["MemoryGroups", "MemoryLimit", "find_groups"]

LOOK_AGAIN_S = 10
_UNLIMITED = 1 << 60  # version 1 says "no limit" by a number that no machine has


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A limit, and what is left of it."""

    limit_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files of one version are called.

    Source: https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and .../cgroup-v2.html#memory
    """

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[bytes, ...]


_FILES = {
    1: _Files(
        ("memory.limit_in_bytes",),
        "memory.usage_in_bytes",
        (b"total_inactive_file", b"total_active_file"),
    ),
    2: _Files(
        ("memory.max", "memory.high"),  # above the second, the kernel slows a process down until it stands
        "memory.current",
        (b"inactive_file", b"active_file", b"slab_reclaimable"),
    ),
}


class MemoryGroups:
    """The control groups that this process is in, from its own up to the topmost that can be seen.

    Args:
        proc: Where this process's own files of ``/proc`` are.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, proc: Path = Path("/proc/self"), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._proc, self._clock = proc, clock
        self._limited: tuple[tuple[Path, _Files], ...] = ()
        self._look_at_s = float("-inf")

    def limit(self) -> MemoryLimit | None:
        """The limit that leaves least; pages of files, which the kernel would drop, count as free."""
        if (now := self._clock()) >= self._look_at_s:
            self._limited = tuple(
                (folder, files)
                for folder, version in find_groups(self._proc)
                if _limit(folder, files := _FILES[version]) is not None
            )
            self._look_at_s = now + LOOK_AGAIN_S
        found = [left for folder, files in self._limited if (left := _left(folder, files))]
        return min(found, key=lambda left: left.free_bytes, default=None)


def find_groups(proc: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the memory groups of a process, and which version's; nothing where there are none.

    Source: proc_pid_mountinfo(5), cgroups(7)
    """
    try:
        mounts = (proc / "mountinfo").read_text("utf-8", "surrogateescape")
        groups = (proc / "cgroup").read_text("utf-8", "surrogateescape")
    except OSError:  # no Linux, or a /proc that is closed to us
        return
    paths = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    for line in mounts.splitlines():
        place, _, system = line.partition(" - ")
        _, _, _, root, point, *_ = place.split()
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2" and "" in paths:
            version, path = 2, paths[""]
        elif kind == "cgroup" and "memory" in options.split(","):
            version = 1
            path = next((path for names, path in paths.items() if "memory" in names.split(",")), "/")
        else:
            continue
        top = Path(_unescaped(point))
        folder = top / _below(path, _unescaped(root))
        while True:
            yield folder, version
            if folder == top:
                break
            folder = folder.parent


def _below(path: str, root: str) -> PurePosixPath:
    """A group's path as the mount shows it; of a group that it does not show, the mount's own."""
    try:
        below = PurePosixPath(path).relative_to(root)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in below.parts else below


def _unescaped(path: str) -> str:
    return path.encode().decode("unicode_escape") if "\\" in path else path


def _limit(folder: Path, files: _Files) -> int | None:
    limits = [value for name in files.limits if (value := _number(folder / name)) is not None]
    return min((value for value in limits if value < _UNLIMITED), default=None)


def _left(folder: Path, files: _Files) -> MemoryLimit | None:
    limit, used = _limit(folder, files), _number(folder / files.usage)
    if limit is None or used is None:
        return None
    try:
        lines = (folder / "memory.stat").read_bytes().splitlines()
    except OSError:
        lines = []
    fields = (line.partition(b" ") for line in lines)
    reclaimable = sum(int(value) for name, _, value in fields if name in files.reclaimable)
    return MemoryLimit(limit, min(limit, max(0, limit - max(0, used - reclaimable))))


def _number(path: Path) -> int | None:
    """What a file says; ``None`` for ``max``, and where there is no such file."""
    try:
        text = path.read_bytes().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
