"""``%farm gpu`` and ``farm gpu``: devices for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from doubles import SomeAmd, SomeNvidia

from farm_notebook.cli import main
from farm_notebook.devices import Reader, reading
from farm_notebook.devices.words import COLUMNS, device_row
from farm_notebook.notebook.commands import run_line
from farm_notebook.notebook.known import KnownModels
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table
from farm_notebook.types import DeviceStats, ModelRef, ModelShare

GB = 10**9
GPU = DeviceStats("cuda:0", "cuda", "a GPU", 80 * GB, 48 * GB, 32 * GB, 16 * GB, 0.374, 41.2, 123.456, 700.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU and the CPU that is here."""
    nvidia = SomeNvidia(GPU, problem="NVML: it is *old*.")
    monkeypatch.setattr(reading, "_reader", Reader(nvidia=nvidia, amd=SomeAmd()))


def cells(device: DeviceStats) -> dict[str, str]:
    return dict(zip(COLUMNS, device_row(device), strict=True))


def test_a_device_is_a_row_of_texts() -> None:
    assert cells(GPU) == {
        "device": "cuda:0",
        "name": "a GPU",
        "memory": "██▒▒▒▒░░░░ 80.0 GB",
        "ours": "16.0 GB",
        "others": "32.0 GB",
        "free": "32.0 GB",
        "load": "37%",
        "temperature": "41 °C",
        "power": "123/700 W",
        "models": "-",
    }


def test_what_is_unknown_is_a_dash_and_a_detail_stands_with_the_name() -> None:
    row = cells(DeviceStats("mps", "mps", "a chip", 10, 5, 5, detail="has the CPU's memory"))
    assert row["name"] == "a chip (has the CPU's memory)"
    assert [row[name] for name in ("ours", "load", "temperature", "power")] == ["-"] * 4
    assert row["others"] == "5 bytes"
    assert cells(replace(GPU, power_limit_w=None))["power"] == "123 W"


def test_the_models_in_memory_are_named_with_their_sizes() -> None:
    shares = tuple(ModelShare(ModelRef("huggingface", name), 2 * GB) for name in ("a/b", "./c"))
    assert cells(replace(GPU, models=shares))["models"] == "huggingface:a/b 2.0 GB, huggingface:./c 2.0 GB"


@pytest.mark.parametrize(
    ("used", "ours", "bar"),
    [
        (0, 0, "░░░░░░░░░░"),
        (80 * GB, 80 * GB, "██████████"),
        (80 * GB, 0, "▒▒▒▒▒▒▒▒▒▒"),
        (1, 1, "█░░░░░░░░░"),
        (1, 0, "▒░░░░░░░░░"),
        (8 * GB, 16 * GB, "█░░░░░░░░░"),
    ],
)
def test_the_bar_shows_ours_others_and_free(used: int, ours: int, bar: str) -> None:
    device = replace(GPU, used_bytes=used, free_bytes=80 * GB - used, ours_bytes=ours)
    assert cells(device)["memory"] == f"{bar} 80.0 GB"


def test_a_lost_gpu_has_an_empty_bar() -> None:
    lost = DeviceStats("cuda:0", "cuda", "a GPU", 0, 0, 0, detail="GPU is lost")
    assert cells(lost)["memory"] == "░░░░░░░░░░ 0 bytes"


@pytest.mark.usefixtures("machine")
def test_the_magic_gives_a_table_that_is_a_sequence_of_devices() -> None:
    shell: Any = SimpleNamespace(user_ns={}, history_manager=None)
    table = run_line(Session(shell, KnownModels()), "gpu")
    assert isinstance(table, Table)
    assert table[0] == GPU
    assert table[-1].id == "cpu"
    assert table[-1].utilization is not None
    assert "██▒▒▒▒░░░░ 80.0 GB" in str(table)
    assert str(table).endswith("NVML: it is *old*.")
    assert "| cuda:0 | a GPU |" in table._repr_mimebundle_()["text/markdown"]


@pytest.mark.usefixtures("machine")
def test_the_command_shows_devices_on_stdout_and_problems_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gpu"])
    out, err = capsys.readouterr()
    assert not ended.value.code
    head, first, *_, last = out.splitlines()
    assert head.split() == list(COLUMNS)
    assert first.split()[:1] == ["cuda:0"]
    assert last.split()[:1] == ["cpu"]
    assert err == "NVML: it is *old*.\n"


@pytest.mark.usefixtures("machine")
def test_the_command_tells_a_program_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gpu", "--json"])
    gpu, cpu = json.loads(capsys.readouterr().out)
    assert (gpu["id"], gpu["kind"], gpu["free_bytes"], gpu["models"]) == ("cuda:0", "cuda", 32 * GB, [])
    assert cpu["id"] == "cpu"
    assert 0 <= cpu["utilization"] <= 1
