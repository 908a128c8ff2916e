"""AMD's and Apple's GPUs, through doubles of the libraries that tell of them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from farm_notebook.devices.amd import Amd
from farm_notebook.devices.apple import Apple
from farm_notebook.types import DeviceStats

GIB = 1 << 30
CPU = DeviceStats("cpu", "cpu", "a processor", 32 * GIB, 12 * GIB, 20 * GIB)


class AmdSmiError(Exception):
    """What the library raises."""


class AmdDouble(ModuleType):
    """``amdsmi`` with two GPUs, which are their numbers.

    Args:
        power: What it says of power.
        broken: The calls that fail.
    """

    AmdSmiException = AmdSmiError
    AmdSmiMemoryType = SimpleNamespace(VRAM="vram")
    AmdSmiTemperatureType = SimpleNamespace(HOTSPOT="hotspot")
    AmdSmiTemperatureMetric = SimpleNamespace(CURRENT="current")

    def __init__(self, power: dict[str, object] | None = None, broken: tuple[str, ...] = ()) -> None:
        super().__init__("amdsmi")
        self.opened = 0
        answers: dict[str, Any] = {
            "get_processor_handles": lambda: [0, 1],
            "get_gpu_memory_total": lambda handle, kind: 64 * GIB,
            "get_gpu_memory_usage": lambda handle, kind: (handle + 1) * GIB,
            "get_gpu_activity": lambda handle: {"gfx_activity": 25, "umc_activity": 3},
            "get_power_info": lambda handle: power or {"socket_power": 90, "power_limit": 300},
            "get_temp_metric": lambda handle, kind, metric: 55,
            "get_gpu_asic_info": lambda handle: {"market_name": f"AMD Instinct {handle}"},
            "get_gpu_process_list": lambda handle: [{"pid": 11, "mem": 5}, {"pid": 12, "mem": 70}],
            "init": self._open,
        }
        for name, answer in answers.items():
            setattr(self, f"amdsmi_{name}", self._fail if name in broken else answer)

    def _open(self) -> None:
        self.opened += 1

    def _fail(self, *arguments: object) -> None:
        raise AmdSmiError("it does not say")


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> AmdDouble:
    double = AmdDouble()
    monkeypatch.setitem(sys.modules, "amdsmi", double)
    return double


def test_every_amd_gpu_is_read_under_the_name_that_torch_has_for_it(amd: AmdDouble) -> None:
    reading = Amd({})
    first, second = reading.read({11, 99})
    assert (first.id, first.kind, second.id) == ("cuda:0", "rocm", "cuda:1")
    assert (second.name, second.total_bytes, second.used_bytes) == ("AMD Instinct 1", 64 * GIB, 2 * GIB)
    assert second.free_bytes == 62 * GIB
    assert (first.ours_bytes, first.utilization, first.temperature_c) == (5, 0.25, 55)
    assert (first.power_w, first.power_limit_w) == (90, 300)
    reading.read(())
    assert amd.opened == 1


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"HIP_VISIBLE_DEVICES": "1"}, ["AMD Instinct 1"]),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, ["AMD Instinct 1", "AMD Instinct 0"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, ["AMD Instinct 0"]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, ["AMD Instinct 1"]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
@pytest.mark.usefixtures("amd")
def test_amd_gpus_have_the_numbers_that_hip_gives_them(variables: dict[str, str], names: list[str]) -> None:
    found = Amd(variables).read(())
    assert [(each.id, each.name) for each in found] == [
        (f"cuda:{number}", name) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("power", "watts", "limit"),
    [
        ({"socket_power": 90, "power_limit": 300_000_000}, 90, 300),
        ({"socket_power": "N/A", "current_socket_power": 80, "power_limit": "N/A"}, 80, None),
        ({"current_socket_power": 0xFFFF, "average_socket_power": 70}, 70, None),
    ],
)
def test_watts_are_found_in_the_words_of_each_version(
    monkeypatch: pytest.MonkeyPatch, power: dict[str, object], watts: float, limit: float | None
) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", AmdDouble(power))
    first, _ = Amd({}).read(())
    assert (first.power_w, first.power_limit_w) == (watts, limit)


def test_what_an_amd_gpu_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = ("get_gpu_memory_total", "get_gpu_activity", "get_power_info", "get_temp_metric")
    more = ("get_gpu_asic_info", "get_gpu_process_list")
    monkeypatch.setitem(sys.modules, "amdsmi", AmdDouble(broken=quiet + more))
    first, _ = Amd({}).read({11})
    assert (first.utilization, first.power_w, first.temperature_c, first.ours_bytes) == (None,) * 4
    assert (first.name, first.total_bytes, first.free_bytes) == ("AMD GPU", 0, 0)
    assert first.detail == "its driver does not say how much memory it has"


def test_a_broken_amd_driver_is_told_and_a_missing_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", AmdDouble(broken=("init",)))
    broken = Amd({})
    assert broken.read(()) == ()
    assert broken.problem == "AMD SMI: it does not say"
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    missing = Amd({})
    assert missing.read(()) == ()
    assert missing.problem == ""


def mac(wired_mib: int = 0) -> Apple:
    said = {
        "machdep.cpu.brand_string": b"Apple M3 Max\0",
        "iogpu.wired_limit_mb": wired_mib.to_bytes(4, "little"),
    }
    return Apple(is_here=True, ask=said.__getitem__)


def test_apples_gpu_has_a_part_of_the_cpus_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (gpu,) = mac().read(CPU)
    assert (gpu.id, gpu.kind, gpu.name, gpu.ours_bytes) == ("mps", "mps", "Apple M3 Max", None)
    assert gpu.total_bytes == 32 * GIB * 2 // 3
    assert gpu.free_bytes == 20 * GIB, "no more than the CPU has"
    large = DeviceStats("cpu", "cpu", "a processor", 128 * GIB, 0, 128 * GIB)
    assert mac().read(large)[0].total_bytes == 96 * GIB
    assert mac(wired_mib=8192).read(CPU)[0].free_bytes == 8 * GIB


def test_torch_tells_what_of_apples_gpu_is_ours_once_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    mps = SimpleNamespace(driver_allocated_memory=lambda: 6 * GIB, recommended_max_memory=lambda: 21 * GIB)
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(mps=mps, backends=backends))
    (gpu,) = mac().read(CPU)
    assert (gpu.ours_bytes, gpu.total_bytes, gpu.free_bytes) == (6 * GIB, 21 * GIB, 15 * GIB)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())  # another thread is importing it
    assert mac().read(CPU)[0].ours_bytes is None


def test_no_other_machine_has_apples_gpu() -> None:
    assert Apple(is_here=False, ask=pytest.fail).read(CPU) == ()
