"""All devices at once, and what the rest of the package makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
from doubles import SomeAmd, SomeNvidia

import farm_notebook as farm
from farm_notebook.devices import Reader, device_problems, device_stats, ledger
from farm_notebook.devices.apple import Apple
from farm_notebook.types import DeviceStats, ModelRef, ModelShare

GPU = DeviceStats("cuda:0", "cuda", "a GPU", 10, 4, 6)


def test_the_cpu_is_always_there_and_stands_last() -> None:
    stats = farm.gpu.stats()
    assert [each.id for each in stats if each.kind == "cpu"] == [stats[-1].id] == ["cpu"]
    assert stats[-1].ours_bytes is not None
    assert stats[-1].ours_bytes >= psutil.Process().memory_info().rss // 2


def test_accelerators_stand_before_the_cpu() -> None:
    mac = Apple(is_here=True, ask=lambda name: b"")
    found = Reader(nvidia=SomeNvidia(GPU), amd=SomeAmd(), apple=mac).read()
    assert [each.id for each in found] == ["cuda:0", "mps", "cpu"]


def test_no_two_devices_have_one_number() -> None:
    other = replace(GPU, kind="rocm")
    reader = Reader(nvidia=SomeNvidia(GPU), amd=SomeAmd(other))
    assert [each.kind for each in reader.read()] == ["cuda", "cpu"]
    assert [each.kind for each in Reader(nvidia=SomeNvidia(), amd=SomeAmd(other)).read()] == ["rocm", "cpu"]


def test_problems_are_those_of_every_driver() -> None:
    reader = Reader(nvidia=SomeNvidia(problem="one"), amd=SomeAmd(problem="another"))
    assert [each.kind for each in reader.read()] == ["cpu"]
    assert reader.problems == ("one", "another")


def test_the_models_in_memory_are_put_with_their_devices() -> None:
    share = ModelShare(ModelRef("llamacpp", "smollm2:135m"), 5)
    found = device_stats({"cpu": [share], "cuda:9": [share]})
    assert found[-1].models == (share,)
    assert device_stats()[-1].models == ()


def test_a_missing_driver_is_a_sentence() -> None:
    farm.gpu.stats()
    assert farm.gpu.problems() == device_problems()
    assert all(problem.startswith(("NVML: ", "AMD SMI: ")) for problem in device_problems())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_reads_on_though_its_parent_was_reading() -> None:
    program = """
import os
from farm_notebook.devices import device_stats, ledger, reading
device_stats()
reservation = ledger.reserve("cpu", 10)
with reading._making, reading._reader._lock, ledger._lock:
    child = os.fork()
    if not child:
        device = device_stats()[-1]
        os._exit(0 if device.ours_bytes and ledger.reserved("cpu") == 0 else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert ledger.reserved("cpu") == 10
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_ledger_is_one_for_the_process() -> None:
    from farm_notebook.devices.ledger import ledger as same

    assert ledger is same
