"""The CPU, and the processes that are ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from farm_notebook.devices import family as family_module
from farm_notebook.devices import host as host_module
from farm_notebook.devices.family import Family
from farm_notebook.devices.host import Host

MIB = 1 << 20
WAITS = "input()"
HAS_A_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()']); "
    "print(child.pid, flush=True); child.wait()"
)


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.communicate("\n", timeout=30)


def test_children_and_theirs_are_ours_and_others_are_not() -> None:
    family = Family()
    before = family.pids()
    assert psutil.Process().pid in before
    assert psutil.Process().ppid() not in before
    with child(HAS_A_CHILD) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert family.pids() == before | {process.pid, grandchild}
    assert family.pids() == before


def test_a_family_sees_what_was_there_before_it() -> None:
    with child(WAITS) as process:
        assert process.pid in Family().pids()


def test_each_stranger_is_looked_at_once_and_anew_when_its_number_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me, looked_at = os.getpid(), []
    there, parents = [me, 1_000_001], {1_000_001: 1}

    def parent(pid: int) -> tuple[psutil.Process, int]:
        looked_at.append(pid)
        return psutil.Process(), parents[pid]

    monkeypatch.setattr(psutil, "pids", lambda: there)
    monkeypatch.setattr(family_module, "_parent", parent)
    family = Family()
    assert family.pids() == family.pids() == {me}
    assert looked_at == [1_000_001]
    there = [me]
    family.pids()
    there, parents = [me, 1_000_001], {1_000_001: me}
    assert family.pids() == {me, 1_000_001}


def test_the_memory_of_a_child_is_ours() -> None:
    family = Family()
    family.pids()
    alone = family.resident_bytes()
    program = f"held = bytearray({64 * MIB}); print(1, flush=True); input()"
    with child(program) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family.pids()
        assert family.resident_bytes() >= alone + 60 * MIB


def test_the_memory_of_a_child_that_just_ended_is_none() -> None:
    family = Family()
    with child(WAITS) as process:
        family.pids()
    assert process.returncode == 0
    assert family.resident_bytes() > 0


def test_the_cpus_memory_is_what_the_machine_has_and_can_give() -> None:
    cpu = Host().read(123)
    assert (cpu.id, cpu.kind, cpu.ours_bytes) == ("cpu", "cpu", 123)
    assert cpu.name
    assert 0 < cpu.free_bytes <= cpu.total_bytes <= psutil.virtual_memory().total
    assert cpu.used_bytes == cpu.total_bytes - cpu.free_bytes


def test_the_utilization_is_that_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = psutil.cpu_count() or 1
    times = (0.0, 0.0)
    monkeypatch.setattr(host_module, "_processor_times", lambda: times)
    cpu = Host()
    assert cpu.read(0).utilization is None, "nothing has passed yet"
    times = (0.5 * cores, 2.0 * cores)
    assert cpu.read(0).utilization == pytest.approx(0.25)
    times = (0.55 * cores, 2.05 * cores)
    assert cpu.read(0).utilization == pytest.approx(0.25), "too little has passed to say anything"
    times = (2.5 * cores, 4.0 * cores)
    assert cpu.read(0).utilization == pytest.approx(1.0)


def test_the_processors_times_add_up_to_what_has_passed() -> None:
    busy_s, all_s = host_module._processor_times()
    times = psutil.cpu_times()
    assert 0 < busy_s < all_s
    assert all_s == pytest.approx(times.user + times.system + times.idle, rel=0.5)
