"""Looks at a child process from outside: whether it works, and when it stopped working."""

from __future__ import annotations

import asyncio
import time

import psutil

TICK_S = 0.01  # the grain of a process's CPU time
QUIET_S = 0.3  # without a tick for so long, it has stopped
PATIENCE_S = 20.0


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def is_working(pid: int, within_s: float = QUIET_S) -> bool:
    """Whether a process uses CPU time in the next moment."""
    before = cpu_s(pid)
    await asyncio.sleep(within_s)
    return cpu_s(pid) - before > 2 * TICK_S


async def begins_working(pid: int) -> bool:
    """Whether a process uses CPU time before long: on a busy machine it may have to wait for it."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not await is_working(pid):
        if time.monotonic() > give_up_at:
            return False
    return True


async def stopped_after(pid: int, since: float, *, give_up_s: float = 10.0) -> float:
    """Seconds from ``since`` (of ``time.perf_counter``) until the process last used CPU time."""
    used, last = cpu_s(pid), since
    while (now := time.perf_counter()) - max(last, since) < QUIET_S:
        if now - since > give_up_s:
            raise AssertionError(f"process {pid} still works {now - since:.1f} s later")
        if (grown := cpu_s(pid)) != used:
            used, last = grown, time.perf_counter()
        await asyncio.sleep(TICK_S / 2)
    return last - since
