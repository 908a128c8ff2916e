"""NVIDIA's GPUs, through the real ``pynvml`` and a library that stands in for the driver's."""

from __future__ import annotations

from typing import Any

import pytest
from nvml import Ask

GIB, MIB = 1 << 30, 1 << 20
FIRST, SECOND = "GPU-10000000-aaaa-bbbb-cccc-dddddddddddd", "GPU-20000000-aaaa-bbbb-cccc-dddddddddddd"
STATS = "tell(gpus())"
FREE = "tell([[each.id, each.free_bytes >> 20] for each in gpus()])"


def test_every_gpu_is_read_with_the_memory_of_all_processes(ask_nvml: Ask) -> None:
    first, second = ask_nvml(STATS, DOUBLE_USED_1=30 * 1024)
    assert (first["id"], first["kind"], first["name"]) == ("cuda:0", "cuda", "NVIDIA H100 80GB HBM3")
    assert second["id"] == "cuda:1"
    assert (second["total_bytes"], second["used_bytes"]) == (80 * GIB, 30 * GIB)
    assert second["free_bytes"] == 50 * GIB
    assert (first["utilization"], first["temperature_c"]) == (0.37, 41)
    assert (first["power_w"], first["power_limit_w"]) == (123.456, 700)
    assert first["detail"] == ""


def test_the_cpu_stands_behind_the_gpus_and_nothing_is_wrong(ask_nvml: Ask) -> None:
    told = ask_nvml("tell([[each.kind for each in device_stats()], device_problems()])")
    assert told == [["cuda", "cuda", "cpu"], []]


def test_of_a_gpus_memory_that_of_this_process_and_its_children_is_ours(ask_nvml: Ask) -> None:
    program = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
os.environ["DOUBLE_PIDS_0"] = f"{os.getpid()}:1000,{child.pid}:200,1:5000"
tell([each.ours_bytes for each in gpus()])
child.communicate(b"\\n")
"""
    assert ask_nvml(program, DOUBLE_USED_0=7000, DOUBLE_PIDS_1="1:300") == [1200 * MIB, 0]


def test_what_is_ours_is_unknown_where_the_driver_does_not_say(ask_nvml: Ask) -> None:
    program = "os.environ['DOUBLE_PIDS_0'] = f'{os.getpid()}:-1'; tell([each.ours_bytes for each in gpus()])"
    assert ask_nvml(program)[0] is None


def test_in_a_container_whose_processes_the_driver_does_not_name_torch_tells_what_is_ours(
    ask_nvml: Ask,
) -> None:
    program = """
import types
from farm_notebook.devices import nvidia
cuda = types.SimpleNamespace(is_initialized=lambda: begun, memory_reserved=lambda number: 1000 + number)
cuda.device_count = lambda: 0
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
nvidia.FIRST_PID_NAMESPACE = "another"
begun = False
before = [each.ours_bytes for each in gpus()]
begun = True
tell([before, [each.ours_bytes for each in gpus()]])
"""
    assert ask_nvml(program, DOUBLE_PIDS_0="4000000:1000") == [[None, None], [1000, 1001]]


@pytest.mark.parametrize(
    ("wanted", "free_mib"),
    [
        ("1,0", [50 * 1024, 79 * 1024]),
        ("1", [50 * 1024]),
        (" 1 , 0", [50 * 1024, 79 * 1024]),
        ("1,7,0", [50 * 1024]),
        ("1,-1,0", [50 * 1024]),
        ("0,0", []),
        ("", []),
        (SECOND, [50 * 1024]),
        ("GPU-2", [50 * 1024]),
        (f"GPU-2,{FIRST}", [50 * 1024, 79 * 1024]),
        ("GPU-", []),
        ("nonsense", []),
    ],
)
def test_gpus_have_the_numbers_that_cuda_gives_them(ask_nvml: Ask, wanted: str, free_mib: list[int]) -> None:
    told = ask_nvml(FREE, CUDA_VISIBLE_DEVICES=wanted, DOUBLE_USED_0=1024, DOUBLE_USED_1=30 * 1024)
    assert told == [[f"cuda:{number}", free] for number, free in enumerate(free_mib)]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["H100 80GB HBM3", "H100 80GB HBM3 MIG 3g.40gb"]),
        ("1", ["H100 80GB HBM3 MIG 3g.40gb"]),
        ("MIG-6", ["H100 80GB HBM3 MIG 3g.40gb"]),
        (f"MIG-{SECOND}/2/0", ["H100 80GB HBM3 MIG 3g.40gb"]),
        ("MIG-6,MIG-5", ["H100 80GB HBM3 MIG 3g.40gb"]),
        (f"MIG-{SECOND}/9/0", []),
    ],
)
def test_a_gpu_that_is_cut_shows_one_of_its_parts(
    ask_nvml: Ask, wanted: str | None, names: list[str]
) -> None:
    variables = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    told = ask_nvml(STATS, DOUBLE_MIG=1, **variables)
    assert [each["name"] for each in told] == [f"NVIDIA {name}" for name in names]
    for each in told:
        if "MIG" in each["name"]:
            assert (each["total_bytes"], each["utilization"]) == (40 * GIB, None)
            assert (each["temperature_c"], each["power_w"]) == (41, 123.456), "the whole GPU's"


def test_torch_decides_on_the_numbers_once_it_has_begun(ask_nvml: Ask) -> None:
    program = f"""
import types
uuids = ["{SECOND}".removeprefix("GPU-"), "{FIRST}".removeprefix("GPU-")]
cuda = types.SimpleNamespace(is_initialized=lambda: begun, device_count=lambda: 2)
cuda.get_device_properties = lambda number: types.SimpleNamespace(uuid=uuids[number])
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
begun = False
before = [each.free_bytes >> 30 for each in gpus()]
begun = True
tell([before, [each.free_bytes >> 30 for each in gpus()]])
"""
    assert ask_nvml(program, DOUBLE_USED_0=1024, DOUBLE_USED_1=30 * 1024) == [[79, 50], [50, 79]]


def test_a_torch_that_has_failed_keeps_no_gpu_from_being_read(ask_nvml: Ask) -> None:
    program = """
import types
from farm_notebook.devices import nvidia
def fail(number):
    raise RuntimeError("CUDA error: device-side assert triggered")
cuda = types.SimpleNamespace(is_initialized=lambda: True, device_count=lambda: 2)
cuda.get_device_properties = cuda.memory_reserved = fail
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
nvidia.FIRST_PID_NAMESPACE = "another"
tell([[each.id, each.ours_bytes] for each in gpus()])
"""
    assert ask_nvml(program) == [["cuda:0", None], ["cuda:1", None]]


def test_gpus_that_differ_may_be_numbered_otherwise_which_is_told(ask_nvml: Ask) -> None:
    program = "gpus(); tell(device_problems())"
    (problem,) = ask_nvml(program, DOUBLE_NAME_1="NVIDIA T4")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in problem
    assert ask_nvml(program, DOUBLE_NAME_1="NVIDIA T4", CUDA_DEVICE_ORDER="PCI_BUS_ID") == []


def test_a_figure_that_a_gpu_does_not_tell_is_none(ask_nvml: Ask) -> None:
    first, _ = ask_nvml(STATS, DOUBLE_POWER=3)
    assert first["power_w"] is None
    assert first["temperature_c"] == 41


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (18, "NVML: Driver/library version mismatch"),
        (9, "NVML: driver not loaded"),
        (4, "NVML: Insufficient Permissions"),
        (999, "NVML: Unknown Error"),
        (997, "NVML: an error of the double's"),
    ],
)
def test_a_driver_that_does_not_open_is_told_and_the_cpu_is_there(
    ask_nvml: Ask, code: int, words: str
) -> None:
    kinds, (problem,) = ask_nvml(
        "tell([[each.kind for each in device_stats()], device_problems()])", DOUBLE_INIT=code
    )
    assert kinds == ["cpu"]
    assert problem.startswith(words)


def test_a_driver_that_does_not_open_is_tried_again_after_a_while(ask_nvml: Ask) -> None:
    program = """
from farm_notebook.devices.nvidia import Nvidia
now = 0.0
nvidia = Nvidia(clock=lambda: now)
told = [len(nvidia.read(()))]
del os.environ["DOUBLE_INIT"]
for now in (29.0, 30.0):
    told.append(len(nvidia.read(())))
tell([told, nvidia.problem])
"""
    assert ask_nvml(program, DOUBLE_INIT=9) == [[0, 0, 2], ""]


def test_a_lost_gpu_is_shown_without_memory_and_the_driver_is_opened_again(ask_nvml: Ask) -> None:
    program = """
import pynvml
from farm_notebook.devices.nvidia import Nvidia
now = 0.0
nvidia = Nvidia(clock=lambda: now)
def look():
    return [[each.free_bytes >> 30, each.detail] for each in nvidia.read(())]
told = [look()]
now = 100.0
look()
os.environ["DOUBLE_FAIL_1"] = "15"
told.append(look())
del os.environ["DOUBLE_FAIL_1"]
now = 131.0
told.append(look())
tell([told, pynvml.nvmlLib.double_times_opened()])
"""
    well = [[79, ""], [79, ""]]
    assert ask_nvml(program) == [[well, [[79, ""], [0, "GPU is lost"]], well], 2]


def test_a_gpu_without_memory_of_its_own_has_the_cpus(ask_nvml: Ask) -> None:
    program = "import psutil; tell([gpus()[1], psutil.virtual_memory().total])"
    second, memory = ask_nvml(program, DOUBLE_FAIL_1=3)
    assert second["total_bytes"] == memory
    assert second["free_bytes"] > 0
    assert second["detail"] == "has the CPU's memory"


def test_a_gpu_that_cannot_be_reached_is_left_out(ask_nvml: Ask) -> None:
    assert [each["id"] for each in ask_nvml(STATS, DOUBLE_LOST_0=15)] == ["cuda:0"]


def test_a_forked_child_opens_the_driver_again(ask_nvml: Ask) -> None:
    program = """
import pynvml
gpus()
reading, writing = os.pipe()
if not os.fork():
    found = [each.free_bytes > 0 for each in gpus()]
    os.write(writing, json.dumps([found, device_problems(), pynvml.nvmlLib.double_times_opened()]).encode())
    os._exit(0)
os.wait()
tell([json.loads(os.read(reading, 1000)), [each.free_bytes > 0 for each in gpus()],
      pynvml.nvmlLib.double_times_opened()])
"""
    assert ask_nvml(program) == [[[True, True], [], 2], [True, True], 1]


def test_the_driver_is_opened_once_for_all_readings_and_torch_is_not_imported(ask_nvml: Ask) -> None:
    program = """
import pynvml
from threading import Thread
threads = [Thread(target=gpus) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
tell([pynvml.nvmlLib.double_times_opened(), "torch" in sys.modules])
"""
    assert ask_nvml(program) == [1, False]


def test_without_a_driver_there_is_the_cpu_and_a_sentence(ask_nvml: Ask) -> None:
    program = """
import ctypes
def not_there(name):
    raise OSError(name)
import pynvml
pynvml.CDLL = not_there
tell([[each.kind for each in device_stats()], device_problems()])
"""
    told: Any = ask_nvml(program)
    assert told == [["cpu"], ["NVML: not found, so there is no NVIDIA driver"]]
