"""This process and those that it, or one of these, started."""

from __future__ import annotations

import os

import psutil

__all__ = ["Family"]


class Family:
    """Remembers which processes belong to this one, so that only new ones have to be looked at."""

    def __init__(self) -> None:
        self._members = {os.getpid(): psutil.Process()}
        self._strangers: set[int] = set()

    def pids(self) -> set[int]:
        """The process ids of this process and its descendants, now."""
        there = set(psutil.pids())
        self._strangers &= there
        self._members = {pid: member for pid, member in self._members.items() if pid in there}
        new = {
            pid: found for pid in there - self._strangers - self._members.keys() if (found := _parent(pid))
        }
        while adopted := {pid for pid, (_, parent) in new.items() if parent in self._members}:
            self._members |= {pid: new.pop(pid)[0] for pid in adopted}
        self._strangers |= new.keys()
        return set(self._members)

    def resident_bytes(self) -> int:
        """The memory of those that ``pids`` found; what several of them share counts for each."""
        total = 0
        for process in self._members.values():
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it just ended
                continue
        return total


def _parent(pid: int) -> tuple[psutil.Process, int] | None:
    try:
        process = psutil.Process(pid)
        return process, process.ppid()
    except psutil.Error:  # it just ended, or is hidden from us
        return None
