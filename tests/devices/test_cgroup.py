"""The limits of containers, read from files as Linux writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from farm_notebook.devices.cgroup import MemoryGroups, MemoryLimit, find_groups
from farm_notebook.devices.host import Host

GIB, MIB = 1 << 30, 1 << 20
NO_LIMIT_V1 = 9223372036854771712


class Machine:
    """A folder with the files of ``/proc/self`` and a tree of control groups.

    Args:
        folder: Where to write them.
        cgroup: The lines of ``/proc/self/cgroup``.
        mounts: What is mounted where: kind, options, root and place, e.g. ``cgroup2 rw / /unified``.
    """

    def __init__(self, folder: Path, cgroup: str, *mounts: str) -> None:
        self.root = folder / "sys"
        self.proc = folder / "proc"
        self.proc.mkdir()
        lines = ["22 1 8:1 / / rw - ext4 /dev/sda rw"]
        for mount in mounts:
            kind, options, root, place = mount.split()
            lines.append(f"30 22 0:26 {root} {self.root}{place} rw,nosuid shared:4 - {kind} {kind} {options}")
        (self.proc / "mountinfo").write_text("\n".join(lines) + "\n")
        (self.proc / "cgroup").write_text(cgroup)

    def group(self, path: str, files: Mapping[str, object]) -> Path:
        """Write a group's files."""
        folder = self.root / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")
        return folder

    def limit(self) -> MemoryLimit | None:
        """What the groups leave to a process of this machine."""
        return MemoryGroups(self.proc).limit()


def v2(
    limit: object = "max", used: int = 0, *, high: object = "max", inactive: int = 0, active: int = 0
) -> dict[str, object]:
    stat = f"anon {used}\nfile 1\ninactive_anon 5\ninactive_file {inactive}\nactive_file {active}"
    return {"memory.max": limit, "memory.high": high, "memory.current": used, "memory.stat": stat}


def v1(limit: int = NO_LIMIT_V1, used: int = 0, *, inactive: int = 0) -> dict[str, object]:
    stat = f"inactive_file 7\ntotal_inactive_file {inactive}\ntotal_active_file 0"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


def test_a_container_of_version_2_leaves_what_it_has_not_used(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", v2(4 * GIB, GIB))
    assert machine.limit() == MemoryLimit(4 * GIB, 3 * GIB)


def test_pages_of_files_count_as_free(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", v2(4 * GIB, 3 * GIB, inactive=GIB, active=512 * MIB))
    assert machine.limit() == MemoryLimit(4 * GIB, GIB + GIB + 512 * MIB)


def test_a_container_of_version_1_leaves_what_it_has_not_used(tmp_path: Path) -> None:
    cgroup = "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/docker/a\n"
    machine = Machine(tmp_path, cgroup, "cgroup rw,memory /docker/a /memory", "cgroup2 rw / /unified")
    machine.group("/memory", v1(2 * GIB, GIB, inactive=256 * MIB))
    assert machine.limit() == MemoryLimit(2 * GIB, GIB + 256 * MIB)


def test_a_group_that_no_mount_shows_is_read_at_the_mounts_own_place(tmp_path: Path) -> None:
    cgroup = "4:memory:/kubepods/pod1/c1\n"
    machine = Machine(tmp_path, cgroup, "cgroup rw,memory /elsewhere /memory")
    machine.group("/memory", v1(2 * GIB, GIB))
    assert machine.limit() == MemoryLimit(2 * GIB, GIB)


def test_a_path_that_leads_out_of_the_mount_is_not_followed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "4:memory:/top/../outside\n", "cgroup rw,memory /top /memory")
    machine.group("/memory", v1(2 * GIB, GIB))
    machine.group("/outside", v1(MIB, MIB))
    assert machine.limit() == MemoryLimit(2 * GIB, GIB)


def test_of_nested_groups_the_one_that_leaves_least_counts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/user.slice/session\n", "cgroup2 rw / /")
    machine.group("/", {})
    machine.group("/user.slice", v2(8 * GIB, 7 * GIB))
    machine.group("/user.slice/session", v2(4 * GIB, GIB))
    assert machine.limit() == MemoryLimit(8 * GIB, GIB)


def test_where_the_kernel_begins_to_slow_down_is_a_limit(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", v2("max", GIB, high=2 * GIB))
    assert machine.limit() == MemoryLimit(2 * GIB, GIB)


@pytest.mark.parametrize("files", [v2(), v2(4 * GIB, 5 * GIB)])
def test_without_a_limit_there_is_none_and_an_exceeded_one_leaves_nothing(
    tmp_path: Path, files: dict[str, object]
) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", files)
    has_limit = files["memory.max"] != "max"
    assert machine.limit() == (MemoryLimit(4 * GIB, 0) if has_limit else None)


def test_version_1_says_no_limit_by_a_huge_number(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "4:memory:/\n", "cgroup rw,memory / /memory")
    machine.group("/memory", v1(used=GIB))
    assert machine.limit() is None


def test_a_mount_whose_path_has_a_space_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /a\\040b")
    machine.group("/a b", v2(4 * GIB, GIB))
    assert machine.limit() == MemoryLimit(4 * GIB, 3 * GIB)


@pytest.mark.parametrize("missing", ["mountinfo", "cgroup"])
def test_without_the_files_of_linux_there_is_no_group(tmp_path: Path, missing: str) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    (machine.proc / missing).unlink()
    assert list(find_groups(machine.proc)) == []
    assert machine.limit() is None


def test_what_is_used_is_read_each_time_and_who_is_limited_every_ten_seconds(tmp_path: Path) -> None:
    machine, now = Machine(tmp_path, "0::/\n", "cgroup2 rw / /"), 0.0
    machine.group("/", v2())
    groups = MemoryGroups(machine.proc, clock=lambda: now)
    assert groups.limit() is None
    machine.group("/", v2(4 * GIB, GIB))
    now = 9.9
    assert groups.limit() is None
    now = 10.0
    assert groups.limit() == MemoryLimit(4 * GIB, 3 * GIB)
    machine.group("/", v2(4 * GIB, 2 * GIB))
    assert groups.limit() == MemoryLimit(4 * GIB, 2 * GIB)


def test_the_cpu_has_what_its_container_leaves(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", v2(64 * MIB, 48 * MIB, inactive=8 * MIB))
    cpu = Host(MemoryGroups(machine.proc)).read(5)
    assert (cpu.total_bytes, cpu.free_bytes, cpu.used_bytes) == (64 * MIB, 24 * MIB, 40 * MIB)
    assert cpu.detail == "limited by its container"


def test_a_container_may_not_have_what_the_machine_cannot_give(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    limit = psutil.virtual_memory().total - 1
    machine.group("/", v2(limit))
    cpu = Host(MemoryGroups(machine.proc)).read(5)
    assert cpu.total_bytes == limit
    assert cpu.free_bytes < limit


def test_a_limit_above_the_machines_own_memory_is_none_of_the_cpus(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/\n", "cgroup2 rw / /")
    machine.group("/", v2(1 << 50, GIB))
    cpu = Host(MemoryGroups(machine.proc)).read(5)
    assert cpu.total_bytes < 1 << 50
    assert cpu.detail == ""
